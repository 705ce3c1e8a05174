"""The numbers that decide what counts as a critical point, a visit or a unit, in one record with their reasons."""

import dataclasses
import textwrap

import equinox as eqx

# The spacing of double-precision numbers at 1.
EPS = 2.0**-52


class Thresholds(eqx.Module):
    r"""What counts as zero, near, far, steady or prominent.

    All are dimensionless: shares of the flow's own `Scales` or of a quantity that is named. A test halves and doubles
    each of them: the kinds, indices and widths of its itinerary stay as they are.

    Attributes:
        prominence: decades by which a minimum of the speed must stand out to count as a visit. Half a decade lies
            between the wiggles of a plateau and the transitions beside it.
        noise_safety: the integrator's noise floor of the speed, in errors of one step. An explicit method that has
            converged steps at the edge of its stability, where errors of single steps accumulate: speeds of up to fifty
            errors of one step were observed.
        drop_fraction: share of the neighbouring drop of the loss at which a plateau is reached and left. A tenth, as in
            the rise time of a signal.
        unit_share: share in the map below which a part of the units counts as zero for the effective width. One per
            cent of the output is far below what units contribute on the plateaus.
        ray_angle: two units lie on one ray if their directions differ by less than this angle, in radians: units of one
            ray align as they grow, and rays of different features are far apart.
        copy_distance: two units are copies if they differ by less than this share of the larger one.
        clear_gap: an effective width is clear if its smallest retained and largest dropped parts differ by at least
            this factor, a decade.
        gradient_zero: ‖∇L‖∞ at a critical point, relative to the largest speed of the flow. Newton's method reaches
            rounding; six decades are left for ill-conditioned Hessians.
        plateau_share: a critical point belongs to a plateau if its loss differs from the plateau's by less than this
            share of the smaller neighbouring drop: twice `drop_fraction`, the extent of the plateau.
        near: distance, relative to ‖θ‖, within which a saddle of the narrow network counts as visited without further
            question. Farther away the narrow network's own descent says where the flow is heading.
        far: distance, relative to ‖θ‖, beyond which a zero of the gradient does not explain why the flow slowed down:
            along a flat channel the gradient vanishes at infinity.
        narrow_curvature: eigenvalues of the narrow Hessian above minus this share of the largest count as not
            negative. The square root of what double precision resolves, rounded up.
        rounding_safety: a number is zero if it is within this many times its error of rounding, which is measured on a
            few changed copies of the landscape: the largest of four normal errors is their size within a factor of
            three, and a decade is left for errors that are not independent.
        sign_certain: an eigenvalue has a certain sign if moving the point by its uncertainty, in either direction,
            changes it by less than this share.
        centred: a form of order p is one of the critical point's if $F_{p-1} F_{p+1} / F_p^2$, with the factors of
            derivatives, is below this: beside a point of a higher order m it is (m − p)/(m − p + 1), at least a half.
        equally_strong: maximisers of a form whose values are within this share of the largest are equally strong: a
            search ends within 1e-9 of a stationary point, where the value is good to the square of that, but on kinks
            only within the 1e-10 of a simplex search.
        same_maximiser: two maximisers are one if the cosine between them falls short of one by less than this.
        loss_zero: a lower bound is attained where the loss exceeds it by less than this share of the loss's own size:
            the square of `gradient_zero`, as residuals are known as well as the gradient is.
        loss_silent: changes of the loss below this share of the initial loss are rounding: a thousand units in the
            last place, since a loss is a sum over samples.
        loss_unseen: below the noise floor a flow is at rest where the loss still falls by less than this share of its
            range: not to be seen in a figure, nor in four digits.
        inside_null_space: a direction lies in the null space if all of it except this share does. A critical point
            known to $10^{-10}$ has its null space to within about the square root, with a decade to spare.
        channel_growth: in a flat channel each decade of time moves the weights by at least this share of the decade
            before. Weights that converge on a quartic floor move by $10^{-1/2}$ of it, those in a channel by as much
            or more, if only logarithmically.
        exponent_agreement: the loss falls like 1/t, as along a channel that separable data make, if its exponent is
            within this of −1, or of what powers of ln t make of it: convergence at order p, which has −p/(p − 2), is
            farther off up to order six at least; and there the weights do not grow.
        ghost_curvature: at a ghost the Hessian maps the unit gradient to a vector shorter than this share of the
            largest curvature: the gradient is stationary in size.
        steady: share by which a local growth rate may vary over a phase of growth from which a rate is measured.
        left_growth: e-folds by which the speed grows from closest approach to departure where a flow has left a
            critical point: one, as what grows less may have changed otherwise.
        rate_agreement: a negative eigenvalue explains a departure if it is the rate, measured over an e-fold, to within
            this factor or its inverse: as the flow leaves the linear range rates change by as much.
        dwell_error: a predicted dwell time is given if the error estimated for it is less than this share of it. With a
            larger one the next order is not small, and says no more how large the error is.
        seeded: an unstable coordinate $e \cdot (\theta - \theta^*)$ that was ever below this share of
            $\sum_i |e_i \theta_i|$ was made by rounding, not by the flow: four units in the last place.
    """

    prominence: float = 0.5
    noise_safety: float = 100.0
    drop_fraction: float = 0.1
    unit_share: float = 0.01
    ray_angle: float = 0.3
    copy_distance: float = 0.1
    clear_gap: float = 10.0
    gradient_zero: float = 1e-10
    plateau_share: float = 0.2
    near: float = 1e-3
    far: float = 2.0
    narrow_curvature: float = 1e-7
    rounding_safety: float = 30.0
    sign_certain: float = 0.5
    centred: float = 0.1
    equally_strong: float = 1e-6
    same_maximiser: float = 1e-4
    loss_zero: float = 1e-20
    loss_silent: float = 1e3 * EPS
    loss_unseen: float = 1e-4
    inside_null_space: float = 1e-4
    channel_growth: float = 0.9
    exponent_agreement: float = 0.15
    ghost_curvature: float = 1e-4
    steady: float = 0.01
    left_growth: float = 1.0
    rate_agreement: float = 0.5
    dwell_error: float = 0.1
    seeded: float = 4 * EPS

    def __str__(self) -> str:
        values = ", ".join(f"{field.name} {getattr(self, field.name):.3g}" for field in dataclasses.fields(self))
        return "thresholds\n" + textwrap.indent(textwrap.fill(values, 110), "  ")


STANDARD = Thresholds()
