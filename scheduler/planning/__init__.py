"""Plan the work of a laboratory: a problem in, a checked plan out. No database, no clock, no Django.

This is the public face. What loads a solver is imported when it is asked for: importing this package, and
using the live table, needs neither ortools nor numpy.
"""

from scheduler.planning.bounds import flow_bound, lower_bound, makespan_bound
from scheduler.planning.calibration import Calibration
from scheduler.planning.checker import Violation, check, hard_violations
from scheduler.planning.codec import (
    DecodeError,
    dump_plan,
    dump_problem,
    json_schema,
    load_plan,
    load_problem,
)
from scheduler.planning.durations import DurationModel, Range
from scheduler.planning.explain import Remedy, Waiting, why_waiting
from scheduler.planning.forecast import Forecast, forecast, predict_finishes
from scheduler.planning.formats import FormatError, read
from scheduler.planning.infeasible import Infeasible, explain_infeasible
from scheduler.planning.limits import Limits
from scheduler.planning.live import LiveTable
from scheduler.planning.objective import Objective, job_finishes, mean_weighted_flow
from scheduler.planning.plan import Diff, Move, Plan, diff
from scheduler.planning.policies import POLICIES, UnknownPolicyError, make_plan
from scheduler.planning.problem import (
    Blocked,
    Demand,
    Device,
    Draw,
    Fixed,
    Hold,
    Job,
    Lag,
    Mode,
    Outage,
    Problem,
    ProblemError,
    Refill,
    Resource,
    Setting,
    Setup,
    Step,
    Stock,
    Task,
    Use,
)
from scheduler.planning.repair import repair
from scheduler.planning.table import MaskingTable, Placement
from scheduler.planning.validate import validate
from scheduler.planning.whatif import WhatIf, what_if

__all__ = [
    "POLICIES",
    "Blocked",
    "Calibration",
    "DecodeError",
    "Demand",
    "Device",
    "Diff",
    "Draw",
    "DurationModel",
    "Fixed",
    "Forecast",
    "FormatError",
    "Hold",
    "Infeasible",
    "Job",
    "Lag",
    "Limits",
    "LiveTable",
    "MaskingTable",
    "Mode",
    "Move",
    "Objective",
    "Outage",
    "Placement",
    "Plan",
    "Problem",
    "ProblemError",
    "Range",
    "Refill",
    "Remedy",
    "Resource",
    "Setting",
    "Setup",
    "Step",
    "Stock",
    "Task",
    "UnknownPolicyError",
    "Use",
    "Violation",
    "Waiting",
    "WhatIf",
    "check",
    "diff",
    "dump_plan",
    "dump_problem",
    "explain_infeasible",
    "flow_bound",
    "forecast",
    "hard_violations",
    "job_finishes",
    "json_schema",
    "load_plan",
    "load_problem",
    "lower_bound",
    "make_plan",
    "makespan_bound",
    "mean_weighted_flow",
    "predict_finishes",
    "read",
    "repair",
    "validate",
    "what_if",
    "why_waiting",
]
