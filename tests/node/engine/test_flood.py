"""A member that anchors without end is named; one that is late now and then is not."""

from structlog.testing import capture_logs

from node.engine.flood import FLOOD, FloodWatch


def test_who_floods_the_order_is_named_with_the_number_of_its_records():
    watch = FloodWatch()
    with capture_logs() as logs:
        for _ in range(2 * FLOOD + 1):
            watch.ignored(3)
        for _ in range(FLOOD - 1):
            watch.ignored(2)
    said = [(line["event"], line["other"], line["ignored"]) for line in logs]
    assert said == [("RecordsFlood", 3, FLOOD), ("RecordsFlood", 3, 2 * FLOOD)]
