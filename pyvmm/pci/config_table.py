# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The table of an assigned function's configuration space: whose it is, register by register.

What no row names is the device's: the guest reads it and writes it there. That is no leap of
faith. Of a device of the host, VFIO answers (drivers/vfio/pci/vfio_pci_config.c): it lets write
only what can do no harm to others, and hides capabilities that it doesn't know. So the rows are
about what would be wrong in the guest, and they stand by themselves for devices of servers, of
which nobody else has thought. docs/assigned.md shows the table.
"""

from __future__ import annotations

from typing import NamedTuple

from pyvmm.uapi import pci_regs as regs

from .config_view import FIXED, FOLLOWED, PUT_BACK, READ_ONLY, TOLD, Row

_CHOICE = "the guest's choice, of which the next one knows nothing"
_NO_SLOT = "there is no such chassis, slot or bridge in the guest"
_LINK = "the link is the host's, and its other end is not in the guest"
_NO_IOMMU = "the guest has no IOMMU that would answer"
_ROOT = "it is of a root complex that is not the guest's"

HEADER = (
    Row("vendor and device", regs.PCI_VENDOR_ID, 4, whose=READ_ONLY, why="what it is"),
    Row(
        "command: decoding, bus mastering, INTx disable",
        regs.PCI_COMMAND,
        2,
        regs.PCI_COMMAND_IO
        | regs.PCI_COMMAND_MEMORY
        | regs.PCI_COMMAND_MASTER
        | regs.PCI_COMMAND_INTX_DISABLE,
        TOLD,
        why="they happen in the device, or in what VFIO emulates of it, and here",
    ),
    Row("class and revision", regs.PCI_CLASS_REVISION, 4, whose=READ_ONLY, why="what it is"),
    Row(
        "cache line size",
        regs.PCI_CACHE_LINE_SIZE,
        1,
        whose=PUT_BACK,
        why=_CHOICE,
    ),
    Row(
        "latency timer",
        regs.PCI_LATENCY_TIMER,
        1,
        whose=PUT_BACK,
        why="likewise",
    ),
    Row(
        "header type",
        regs.PCI_HEADER_TYPE,
        1,
        whose=FIXED,
        why="whether there are other functions is for the guest's bus to say",
    ),
    Row(
        "BIST",
        regs.PCI_BIST,
        1,
        whose=FIXED,
        value=0,
        why="a self-test may reset the device behind VFIO's back",
    ),
    Row(
        "BARs",
        regs.PCI_BASE_ADDRESS_0,
        4 * regs.PCI_STD_NUM_BARS,
        why="the guest's addresses are not the host's",
    ),
    Row("CardBus CIS, subsystem", regs.PCI_CARDBUS_CIS, 8, whose=READ_ONLY, why="what it is"),
    Row("expansion ROM", regs.PCI_ROM_ADDRESS, 4, why="the guest's addresses are not the host's"),
    Row("interrupt line", regs.PCI_INTERRUPT_LINE, 1, why="it is software's, to keep a number in"),
    Row(
        "interrupt pin",
        regs.PCI_INTERRUPT_PIN,
        1,
        whose=FIXED,
        why="none, if VFIO has no INTx of the device",
    ),
    Row("bus demands", regs.PCI_MIN_GNT, 2, whose=READ_ONLY, why="what it is"),
)
"""The first 64 bytes. The pointers of the capability chains are fixed, too."""


class Seen(NamedTuple):
    """What the guest sees of a kind of capability; the offsets of rows count from its start."""

    rows: tuple[Row, ...] = ()
    hidden: bool = False
    """It is not in the chain, and of its first size bytes none can be written."""
    size: int = 4
    why: str = ""


def _hidden(why: str, size: int = 4) -> Seen:
    return Seen(hidden=True, size=size, why=why)


MSI = (
    Row("control", regs.PCI_MSI_FLAGS, 2, whose=TOLD, why="the device learns that it is on"),
    # As many bytes as this one has.
    Row(
        "message, mask and pending bits",
        regs.PCI_MSI_ADDRESS_LO,
        20,
        why="messages go to the host's interrupt controller, and on to the guest's",
    ),
)
MSIX = (
    Row("control", regs.PCI_MSIX_FLAGS, 2, whose=TOLD, why="the device learns that it is on"),
    Row("table and PBA", regs.PCI_MSIX_TABLE, 8, whose=FIXED, why="where they are is checked once"),
)

CONVENTIONAL = {
    regs.PCI_CAP_ID_PM: Seen(
        (
            Row(
                "PME support",
                regs.PCI_PM_PMC,
                2,
                regs.PCI_PM_CAP_PME_MASK,
                FIXED,
                0,
                "power events go to the host",
            ),
            Row(
                "PME enable and status",
                regs.PCI_PM_CTRL,
                2,
                regs.PCI_PM_CTRL_PME_ENABLE | regs.PCI_PM_CTRL_PME_STATUS,
                FIXED,
                0,
                "likewise",
            ),
            Row(
                "power state",
                regs.PCI_PM_CTRL,
                2,
                regs.PCI_PM_CTRL_STATE_MASK,
                FOLLOWED,
                why="in any other but D0 the BARs are nowhere; a reset is back to D0",
            ),
            Row(
                "data select",
                regs.PCI_PM_CTRL,
                2,
                regs.PCI_PM_CTRL_DATA_SEL_MASK,
                PUT_BACK,
                why=_CHOICE,
            ),
        ),
        why="No_Soft_Reset is the device's: VFIO keeps configuration over D3hot, but what is "
        "inside may be reset",
    ),
    regs.PCI_CAP_ID_VPD: Seen(why="VFIO reads and writes it for the guest, a word at a time"),
    regs.PCI_CAP_ID_SLOTID: _hidden(_NO_SLOT),
    regs.PCI_CAP_ID_MSI: Seen(MSI),
    regs.PCI_CAP_ID_CHSWP: _hidden(_NO_SLOT),
    regs.PCI_CAP_ID_PCIX: Seen((Row("command", regs.PCI_X_CMD, 2, whose=PUT_BACK, why=_CHOICE),)),
    regs.PCI_CAP_ID_VNDR: Seen(why="only its driver knows what it is"),
    regs.PCI_CAP_ID_DBG: _hidden("a debug port is the host's"),
    regs.PCI_CAP_ID_CCRC: _hidden(_NO_SLOT),
    regs.PCI_CAP_ID_SHPC: _hidden(_NO_SLOT),
    regs.PCI_CAP_ID_SSVID: _hidden(_NO_SLOT),
    regs.PCI_CAP_ID_MSIX: Seen(MSIX),
    regs.PCI_CAP_ID_AF: Seen(
        (
            Row(
                "function-level reset",
                regs.PCI_AF_CTRL,
                1,
                regs.PCI_AF_CTRL_FLR,
                FIXED,
                0,
                "pyvmm resets the function",
            ),
        )
    ),
    regs.PCI_CAP_ID_EA: _hidden("its addresses are the host's", 64),
}
"""By id. Of PCI Express there are tables of its own."""

EXPRESS_VERSION = Row(
    "version",
    regs.PCI_EXP_FLAGS,
    2,
    regs.PCI_EXP_FLAGS_VERS,
    FIXED,
    why="0, which some virtual functions have, is told as 1",
)
EXPRESS = (
    Row("slot implemented", regs.PCI_EXP_FLAGS, 2, regs.PCI_EXP_FLAGS_SLOT, FIXED, 0, _NO_SLOT),
    Row(
        "phantom functions",
        regs.PCI_EXP_DEVCAP,
        4,
        regs.PCI_EXP_DEVCAP_PHANTOM,
        FIXED,
        0,
        "DMA of numbers that the host's IOMMU doesn't know",
    ),
    Row(
        "device control: extended tags, phantom functions",
        regs.PCI_EXP_DEVCTL,
        2,
        regs.PCI_EXP_DEVCTL_EXT_TAG | regs.PCI_EXP_DEVCTL_PHANTOM,
        FIXED,
        why="what is between device and memory, only the host knows",
    ),
    Row(
        "device control: function-level reset",
        regs.PCI_EXP_DEVCTL,
        2,
        regs.PCI_EXP_DEVCTL_BCR_FLR,
        FIXED,
        0,
        "pyvmm resets the function",
    ),
    Row(
        "device control: the rest",
        regs.PCI_EXP_DEVCTL,
        2,
        ~regs.PCI_EXP_DEVCTL_BCR_FLR,
        PUT_BACK,
        why="of payload and read request sizes VFIO keeps the device within the host's",
    ),
)
NO_FLR = (
    Row(
        "function-level reset, if VFIO can't reset the device",
        regs.PCI_EXP_DEVCAP,
        4,
        regs.PCI_EXP_DEVCAP_FLR,
        FIXED,
        0,
        "nor could the guest",
    ),
)
NO_AF_FLR = (Row("function-level reset capability", regs.PCI_AF_CAP, 1, whose=FIXED, value=0),)

# Requester of 10-bit tags, of which the kernel's headers know nothing.
_DEVCAP2_10BIT_TAGS = 1 << 17
_DEVCTL2_10BIT_TAGS = 1 << 12

EXPRESS_2 = (
    Row(
        "device capabilities 2: ARI, LTR, 10-bit tags, OBFF",
        regs.PCI_EXP_DEVCAP2,
        4,
        regs.PCI_EXP_DEVCAP2_ARI
        | regs.PCI_EXP_DEVCAP2_LTR
        | _DEVCAP2_10BIT_TAGS
        | regs.PCI_EXP_DEVCAP2_OBFF_MASK,
        FIXED,
        0,
        "all up to the root complex would have to have them",
    ),
    Row(
        "device control 2: the same",
        regs.PCI_EXP_DEVCTL2,
        2,
        regs.PCI_EXP_DEVCTL2_ARI
        | regs.PCI_EXP_DEVCTL2_LTR_EN
        | _DEVCTL2_10BIT_TAGS
        | regs.PCI_EXP_DEVCTL2_OBFF_WAKE_EN,
        FIXED,
        why="the device goes on with what the host has chosen",
    ),
    Row("device control 2: the rest", regs.PCI_EXP_DEVCTL2, 2, whose=PUT_BACK, why=_CHOICE),
)
"""What version 2 has more."""


def _type(kind: int, why: str) -> Row:
    return Row("type", regs.PCI_EXP_FLAGS, 2, regs.PCI_EXP_FLAGS_TYPE, FIXED, kind << 4, why)


ON_ROOT_BUS = (
    _type(regs.PCI_EXP_TYPE_RC_END, "on bus 0 an endpoint is one of the root complex"),
    Row("link registers", regs.PCI_EXP_LNKCAP, 8, whose=FIXED, value=0, why=_LINK),
)
ON_ROOT_BUS_2 = (
    Row("slot and root registers", regs.PCI_EXP_SLTCAP, 16, whose=FIXED, value=0, why=_NO_SLOT),
    Row("link registers 2", regs.PCI_EXP_LNKCAP2, 8, whose=FIXED, value=0, why=_LINK),
)
BEHIND_PORT = (Row("link control and status", regs.PCI_EXP_LNKCTL, 4, whose=READ_ONLY, why=_LINK),)
BEHIND_PORT_2 = (
    Row("slot and root registers", regs.PCI_EXP_SLTCAP, 16, whose=READ_ONLY, why=_NO_SLOT),
    Row("link control and status 2", regs.PCI_EXP_LNKCTL2, 4, whose=READ_ONLY, why=_LINK),
)
_X1_2_5_GT = regs.PCI_EXP_LNKSTA_NLW_X1 | regs.PCI_EXP_LNKSTA_CLS_2_5GB
INTEGRATED_BEHIND_PORT = (
    _type(regs.PCI_EXP_TYPE_ENDPOINT, "no function of a root complex is behind a port"),
    Row(
        "link capabilities",
        regs.PCI_EXP_LNKCAP,
        4,
        whose=FIXED,
        value=_X1_2_5_GT,
        why="one lane of 2.5 GT/s, as there must be a link",
    ),
    Row(
        "link control and status",
        regs.PCI_EXP_LNKCTL,
        4,
        whose=FIXED,
        value=_X1_2_5_GT << 16,
        why="likewise",
    ),
)

EXTENDED = {
    regs.PCI_EXT_CAP_ID_ERR: Seen(
        (
            Row("mask, uncorrectable", regs.PCI_ERR_UNCOR_MASK, 4, whose=PUT_BACK, why=_CHOICE),
            Row("severity", regs.PCI_ERR_UNCOR_SEVER, 4, whose=PUT_BACK, why=_CHOICE),
            Row("mask, correctable", regs.PCI_ERR_COR_MASK, 4, whose=PUT_BACK, why=_CHOICE),
            Row("control", regs.PCI_ERR_CAP, 4, whose=PUT_BACK, why=_CHOICE),
        ),
        why="the guest's driver may look; what is fatal, VFIO tells pyvmm",
    ),
    regs.PCI_EXT_CAP_ID_VC: _hidden(_LINK, 0x1C),
    regs.PCI_EXT_CAP_ID_DSN: Seen(why="it tells what device this is"),
    regs.PCI_EXT_CAP_ID_RCLD: _hidden(_ROOT),
    regs.PCI_EXT_CAP_ID_RCILC: _hidden(_ROOT),
    regs.PCI_EXT_CAP_ID_RCEC: _hidden(_ROOT),
    regs.PCI_EXT_CAP_ID_MFVC: _hidden(_LINK, 0x1C),
    regs.PCI_EXT_CAP_ID_VC9: _hidden(_LINK, 0x1C),
    regs.PCI_EXT_CAP_ID_RCRB: _hidden(_ROOT),
    regs.PCI_EXT_CAP_ID_VNDR: Seen(why="only its driver knows what it is"),
    regs.PCI_EXT_CAP_ID_CAC: _hidden(_ROOT, 8),
    regs.PCI_EXT_CAP_ID_ACS: Seen(
        (
            Row(
                "control",
                regs.PCI_ACS_CTRL,
                2,
                whose=READ_ONLY,
                why="it keeps the host's devices apart",
            ),
        )
    ),
    regs.PCI_EXT_CAP_ID_ARI: _hidden("its next function is the host's", 8),
    regs.PCI_EXT_CAP_ID_ATS: _hidden(_NO_IOMMU, 8),
    regs.PCI_EXT_CAP_ID_SRIOV: _hidden("virtual functions would appear on the host's bus", 0x40),
    regs.PCI_EXT_CAP_ID_MRIOV: _hidden("virtual functions would appear on the host's bus"),
    regs.PCI_EXT_CAP_ID_MCAST: _hidden("its addresses are those of the host's bus", 0x30),
    regs.PCI_EXT_CAP_ID_PRI: _hidden(_NO_IOMMU, 16),
    regs.PCI_EXT_CAP_ID_REBAR: _hidden("the host has given the BARs their room", 52),
    regs.PCI_EXT_CAP_ID_TPH: _hidden("steering tags are of the host's processors", 12),
    regs.PCI_EXT_CAP_ID_LTR: _hidden(_LINK, 8),
    regs.PCI_EXT_CAP_ID_SECPCI: _hidden(_LINK, 12),
    regs.PCI_EXT_CAP_ID_PMUX: _hidden(_LINK, 16),
    regs.PCI_EXT_CAP_ID_PASID: _hidden(_NO_IOMMU, 8),
    regs.PCI_EXT_CAP_ID_DPC: _hidden(_LINK, 16),
    regs.PCI_EXT_CAP_ID_L1SS: _hidden(_LINK, 20),
    regs.PCI_EXT_CAP_ID_PTM: _hidden("the time is that of the host's root complex", 12),
    regs.PCI_EXT_CAP_ID_VF_REBAR: _hidden("of virtual functions, which are hidden", 52),
    regs.PCI_EXT_CAP_ID_DLF: _hidden(_LINK, 12),
    regs.PCI_EXT_CAP_ID_PL_16GT: _hidden(_LINK, 32),
    regs.PCI_EXT_CAP_ID_NPEM: _hidden(_NO_SLOT, 16),
    regs.PCI_EXT_CAP_ID_PL_32GT: _hidden(_LINK, 32),
    regs.PCI_EXT_CAP_ID_DEV3: _hidden(_LINK, 16),
    regs.PCI_EXT_CAP_ID_IDE: _hidden(_LINK, 12),
    regs.PCI_EXT_CAP_ID_PL_64GT: _hidden(_LINK, 32),
}
"""By id."""
