"""The name of everything that a page can quote."""

from results.tables import digits, exports, line, parts, peers, speed

QUOTED = {
    function.__name__: function
    for function in (
        digits.svhn,
        digits.svhn_short,
        digits.svhn_summary,
        digits.svhn_choice,
        digits.svhn_gap,
        digits.svhn_fig9,
        digits.digits_quick,
        digits.levers,
        parts.parts_short,
        parts.parts_all,
        parts.parts_summary,
        parts.parts_quick,
        parts.magnetic_tile_pixels,
        parts.magnetic_tile_by_defect,
        parts.magnetic_tile_top_k,
        line.drift_delays,
        peers.peers,
        speed.throughput,
        speed.throughput_zen4,
        speed.throughput_short,
        speed.profile,
        speed.crops,
        speed.sweep,
        speed.one_part,
        speed.inspection,
        speed.feature_network,
        speed.serving,
        exports.quantized,
    )
}
