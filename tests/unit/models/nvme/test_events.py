# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Asynchronous events, each told once."""

from __future__ import annotations

from pyvmm.models.nvme.spec import Feature, LogPage

from .driver import (
    DATA,
    Admin,
    Driver,
    Io,
    Queue,
    Status,
)


class TestEvents:
    def test_a_wrong_doorbell_is_told(self, drive: Driver, queue: Queue) -> None:
        admin = drive.admin
        admin.submit(Admin.ASYNC_EVENT_REQUEST, cid=50)
        admin.submit(Admin.ASYNC_EVENT_REQUEST, cid=51)
        admin.ring()
        drive.ring(2 * 9, 1)
        (told,) = admin.wait()
        assert (told.cid, told.status, told.result) == (50, 0, LogPage.ERROR << 16 | 0 << 8)
        drive.ring(2, 32)  # its last entry is 31
        drive.ring(3, 5)  # nothing was completed
        assert admin.reap() == [], "the first has not been read about"
        drive.log_page(LogPage.ERROR, 64, rae=1)
        assert admin.reap() == [], "and its event is retained"
        admin.submit(Admin.GET_LOG_PAGE, 15 << 16 | LogPage.ERROR, prp1=DATA, cid=1)
        admin.ring()
        answers = admin.wait(2)
        assert {answer.cid for answer in answers} == {1, 51}
        (told,) = (answer for answer in answers if answer.cid == 51)
        assert told.result == LogPage.ERROR << 16 | 1 << 8
        assert queue.run(Io.FLUSH, nsid=1).status == Status.SUCCESS

    def test_too_many_requests(self, drive: Driver) -> None:
        admin = drive.enable()
        for cid in range(5):
            admin.submit(Admin.ASYNC_EVENT_REQUEST, cid=cid)
        admin.ring()
        (refused,) = admin.wait()
        assert (refused.cid, refused.status) == (4, Status.ASYNC_EVENT_LIMIT)

    def test_requests_take_no_room(self, drive: Driver) -> None:
        admin = drive.enable(entries=2)
        for cid in range(3):
            admin.submit(Admin.ASYNC_EVENT_REQUEST, cid=cid)
            admin.ring()
            admin.until_fetched()
        assert admin.run(Admin.IDENTIFY, 1, prp1=DATA, cid=9).cid == 9

    def test_abort(self, drive: Driver, queue: Queue) -> None:
        admin = drive.admin
        admin.submit(Admin.ASYNC_EVENT_REQUEST, cid=50)
        admin.submit(Admin.ABORT, 50 << 16, cid=1)
        admin.ring()
        first, second = sorted(admin.wait(2))
        assert (first.cid, first.status, first.result) == (1, Status.SUCCESS, 0)
        assert (second.cid, second.status) == (50, Status.ABORT_REQUESTED)
        for sq, cid in ((0, 50), (1, 0), (9, 9)):
            assert admin.run(Admin.ABORT, cid << 16 | sq).result == 1

    def test_it_gets_too_warm(self, drive: Driver) -> None:
        admin = drive.enable()
        admin.submit(Admin.ASYNC_EVENT_REQUEST, cid=50)
        assert admin.run(Admin.SET_FEATURES, Feature.TEMPERATURE_THRESHOLD, 300).cid == 0
        assert admin.run(Admin.SET_FEATURES, Feature.ASYNC_EVENT, 2).cid == 0
        admin.submit(Admin.SET_FEATURES, Feature.TEMPERATURE_THRESHOLD, 301)
        admin.ring()
        told = {done.cid: done.result for done in admin.wait(2)}
        assert told == {0: 0, 50: LogPage.SMART << 16 | 1 << 8 | 1}
        assert drive.log_page(LogPage.SMART, 512)[0] == 2
