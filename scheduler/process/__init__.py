"""The scheduler process: the only writer of states and plan. It plans, grants, orders, watches and closes."""
