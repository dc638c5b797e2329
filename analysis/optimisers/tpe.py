"""Optuna's tree-structured Parzen estimator behind our ask and tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from .base import Choice, Continuous, Integer, Optimiser, Trial, Value

if TYPE_CHECKING:
    import optuna

STARTUP_TRIALS = 10
_DIRECTIONS: dict[str, Literal["minimize", "maximize"]] = {"minimise": "minimize", "maximise": "maximize"}


class TPE(Optimiser):
    """Learns which regions are good. Trials that are still open are taken for bad ones, so that a batch spreads."""

    name: ClassVar[str] = "tpe"

    def _suggest(self, number: int) -> dict[str, Value] | None:
        # Here, because it is large and only campaigns need it.
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(
            # A new one for each trial, so that nothing but the trials decides.
            seed=(self.settings.seed * 1_000_003 + number) % 2**32,
            n_startup_trials=STARTUP_TRIALS,
            multivariate=True,
            constant_liar=True,
        )
        study = optuna.create_study(direction=_DIRECTIONS[self.settings.goal], sampler=sampler)
        distributions = self._distributions()
        study.add_trials([self._known(trial, distributions) for trial in self.trials])
        return dict(study.ask(distributions).params)

    def _distributions(self) -> dict[str, optuna.distributions.BaseDistribution]:
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        made: dict[str, optuna.distributions.BaseDistribution] = {}
        for dimension in self.settings.space:
            match dimension:
                case Continuous(low=low, high=high, log=log):
                    made[dimension.name] = FloatDistribution(low, high, log=log)
                case Integer(low=low, high=high):
                    made[dimension.name] = IntDistribution(low, high)
                case Choice(options=options):
                    made[dimension.name] = CategoricalDistribution(options)
        return made

    def _known(self, trial: Trial, distributions: dict[str, Any]) -> optuna.trial.FrozenTrial:
        from optuna.trial import TrialState, create_trial

        states = {"open": TrialState.RUNNING, "measured": TrialState.COMPLETE, "failed": TrialState.FAIL}
        return create_trial(
            state=states[trial.state],
            value=trial.objective,
            params=dict(trial.values),
            distributions=distributions,
        )
