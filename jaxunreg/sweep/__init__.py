"""Sweeps: many members trained at once by one compiled program, vmapped and spread over devices."""

from jaxunreg.sweep.loop import fit_sweep
from jaxunreg.sweep.members import Member, MemberGroup, group_members
from jaxunreg.sweep.program import MemberBytes, member_bytes
from jaxunreg.sweep.result import Failure, NoSuchMemberError, SweepResult

__all__ = [
    "Failure",
    "Member",
    "MemberBytes",
    "MemberGroup",
    "NoSuchMemberError",
    "SweepResult",
    "fit_sweep",
    "group_members",
    "member_bytes",
]
