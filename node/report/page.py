"""The page: all sections of a story, in one file that loads nothing."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from node import VERSION
from node.cli.formats import clean, duration, metric, short, value
from node.report.charts import Curve, bars, curves
from node.report.markup import Markup, element, joined, table
from node.report.story import STEPS, Anchor, RoundStory, Story
from node.stages import ROUND_STAGES

STYLE = Path(__file__).with_name("style.css")
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""What a browser may load for the page: nothing. Its style is in it."""

PLOTS_LIMIT = 6
HOW = {"on": "in time", "late": "ignored, mostly because it came late", "off": "no"}
STAGES = [stage for stage, _, _ in ROUND_STAGES]


@dataclass(frozen=True)
class Checked:
    """The outcome of checking logs against the specification: whether they fit, and in words."""

    fits: bool
    words: str


def page(story: Story, node: str, trace: Checked | None = None) -> str:
    """The whole document. `node` is the member whose view it is."""
    job = story.job
    names = {each["index"]: clean(each["name"]) for each in job["roster"]}
    title = f"{clean(job['name'])} · Starling"
    head = element(
        "head",
        Markup('<meta charset="utf-8">'),
        element("title", title),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'),
        Markup(f"<style>{STYLE.read_text()}</style>"),
    )
    body = element(
        "main",
        _header(story),
        _tiles(story, trace),
        _section("Quality of the joint model", _quality(story)),
        _section("Where the time went, at this member", _times(story)),
        _section("Who took part", _part(story, names)),
        _section("Anchors", _anchors(story, names)),
        _section("Verification", _verification(story, names, trace)),
        _section("What the members agreed on", _terms(job)),
        _footer(node),
    )
    return f'<!doctype html>\n<html lang="en">{head}{element("body", body)}</html>\n'


def _section(title: str, *content: object) -> Markup:
    return element("section", element("h2", title), *content)


def _header(story: Story) -> Markup:
    phase = clean(story.job["phase"])
    mood = {"finished": "good", "aborted": "bad", "declined": "bad", "cut short": "bad"}.get(phase, "wait")
    reason = clean(story.job.get("reason") or "")
    return joined(
        element(
            "header", element("h1", clean(story.job["name"])), element("span", phase, class_=f"badge {mood}")
        ),
        element("p", "job ", element("code", story.job["job"]), class_="soft"),
        element("p", reason, class_="bad") if reason else "",
    )


def _tiles(story: Story, trace: Checked | None) -> Markup:
    opened = [each for each in story.rounds if each.outcome == "opened"]
    others = Counter(each.outcome for each in story.rounds if each.outcome in ("burned", "discarded"))
    rounds = f"{len(opened)} of {story.job['rounds']}"
    tiles = [(rounds, ", ".join(["rounds opened", *(f"{count} {how}" for how, count in others.items())]))]
    for name in story.metric_names()[:2]:
        known = [each for each in opened if name in each.metrics]
        if known:
            last = metric(name, known[-1].metrics[name])
            tiles.append((last, f"{clean(name)} after round {known[-1].number}"))
    if story.began and story.ended:
        tiles.append((duration(story.ended - story.began), "from proposal to settlement"))
    tiles.append((str(story.job["members"]), "members"))
    tiles.append((str(len(story.anchors) or story.job["slots"]), "records in one order"))
    bad = bool(story.mismatches) or (trace is not None and not trace.fits)
    settled = "differs" if bad else "settled" if story.job["settled"] else "not yet"
    tiles.append((settled, "on L1, against the records"))
    made = [
        element("div", element("b", figure), element("span", label), class_="tile") for figure, label in tiles
    ]
    return element("div", *made, class_="tiles")


def _quality(story: Story) -> Markup:
    plots = []
    for name in story.metric_names()[:PLOTS_LIMIT]:
        joint = Curve(
            "joint model", {each.number: each.metrics[name] for each in story.rounds if name in each.metrics}
        )
        own = {each.number: each.training[name] for each in story.rounds if name in each.training}
        drawn = [joint, Curve("this member while training", own, dashed=True)] if own else [joint]
        plots.append(curves(f"{clean(name)} by round", drawn, partial(_axis, name)))
    if not plots:
        return element(
            "p", "No round has been evaluated here: this member has no evaluation data.", class_="none"
        )
    return element("div", *plots, class_="plots")


def _axis(name: str, at: float) -> str:
    return f"{100 * at:.4g} %" if name.startswith("accuracy") else f"{at:.4g}"


def _times(story: Story) -> Markup:
    timed = [each for each in story.rounds if each.stages]
    if not timed:
        return element("p", "The log has no times of this job's rounds.", class_="none")
    drawn = bars([(f"round {each.number}", each.stages) for each in timed], STAGES, duration)
    whole = sum(sum(each.stages.values()) for each in timed) or 1.0
    rows = []
    for stage in STAGES:
        spent = [each.stages[stage] for each in timed if stage in each.stages]
        if spent:
            total = sum(spent)
            rows.append(
                (stage, duration(total / len(spent)), duration(max(spent)), f"{100 * total / whole:.0f} %")
            )
    summary = table(("stage", ">mean of a round", ">longest", ">share"), rows)
    return joined(drawn, element("details", element("summary", "as a table"), summary))


def _part(story: Story, names: Mapping[int, str]) -> Markup:
    rows = []
    for each in story.rounds:
        cells = [_steps(each, index) for index in names]
        sealed = ", ".join(names.get(index, str(index)) for index in each.sealed)
        rows.append((each.number, clean(each.outcome), *cells, sealed or "–", _digest(each.model)))
    words = ", ".join(f"{word[0].upper()} {word}" for word in STEPS.values())
    return joined(
        element(
            "p",
            f"What each member has in the order for each round: {words}. Amber: ignored, as too late.",
            class_="soft",
        ),
        table((">round", "outcome", *names.values(), "sum of", "model"), rows),
    )


def _steps(each: RoundStory, member: int) -> Markup:
    done, marks = each.part.get(member, {}), []
    for kind, word in STEPS.items():
        state = "on" if done.get(kind) else "late" if kind in done else "off"
        marks.append(element("span", word[0].upper(), class_=state, title=f"{word}: {HOW[state]}"))
    return element("span", *marks, class_="steps")


def _digest(text: object) -> Markup:
    return element("span", short(text), class_="digest", title=text or None)


def _anchors(story: Story, names: Mapping[int, str]) -> Markup:
    head = story.head
    facts = [
        ("head", element("code", clean(head.get("head_id") or "–"))),
        (
            "state",
            clean(head.get("state", "–"))
            + (f", since {_utc(head['since'])} UTC" if head.get("since") else ""),
        ),
        ("last slot", value(head.get("slot"))),
        ("snapshot", value(head.get("snapshot"))),
    ]
    counted = Counter((each.author, each.kind) for each in story.anchors)
    kinds = sorted({each.kind for each in story.anchors})
    rows = [
        (name, *(counted[index, kind] or "–" for kind in kinds), sum(counted[index, kind] for kind in kinds))
        for index, name in names.items()
    ]
    if not rows or not kinds:
        return joined(_facts(facts), element("p", "The log has no records of this job.", class_="none"))
    summary = table(("member", *(f">{clean(kind)}" for kind in kinds), ">all"), rows)
    return joined(_facts(facts), element("p"), summary, _order(story.anchors, names))


def _order(anchors: Sequence[Anchor], names: Mapping[int, str]) -> Markup:
    rows = [
        (
            each.slot,
            _utc(each.moment),
            names.get(each.author, str(each.author)),
            clean(each.kind) + ("" if each.counts else " (ignored)"),
            "–" if each.round is None else each.round,
            _digest(each.digest),
        )
        for each in anchors
    ]
    listed = table((">slot", "read here (UTC)", "member", "record", ">round", "digest"), rows)
    return element("details", element("summary", f"all {len(rows)} records"), listed)


def _verification(story: Story, names: Mapping[int, str], trace: Checked | None) -> Markup:
    checks = [_settlement(story, names), _agreement(story)]
    accused = Counter(
        f"{each['event']}: {_accused(each, names)}"
        for each in story.accused
        if each["event"] not in ("ResultDiffers", "LogForked")
    )
    checks += [("bad", f"{clean(what)} ({count}×)") for what, count in accused.items()]
    if any(each["event"] == "LogForked" for each in story.accused):
        checks.append(("bad", "This member's hydra-node showed it two orders of the records."))
    if not accused:
        checks.append(("good", "No update, share or anchor of any member was refused as false."))
    if trace is None:
        checks.append(("wait", "The logs were not checked against the specification (--trace does)."))
    else:
        checks.append(("good" if trace.fits else "bad", clean(trace.words, 2000)))
    listed = element(
        "ul", *(element("li", element("span", text), class_=mood) for mood, text in checks), class_="checks"
    )
    return joined(listed, _notes(story))


def _settlement(story: Story, names: Mapping[int, str]) -> tuple[str, str]:
    if story.mismatches:
        blamed = ", ".join(names.get(index, str(index)) for index in story.mismatches)
        return "bad", f"On L1 the last datum of {blamed} is not the last record of the order."
    if story.mismatches is not None or story.job["settled"]:
        return "good", "Settled: every member's last datum on L1 is its last record in the order."
    return "wait", "Not settled yet: the head is not on the chain."


def _agreement(story: Story) -> tuple[str, str]:
    wrong = sorted({each.get("round", 0) for each in story.accused if each["event"] == "ResultDiffers"})
    if wrong:
        return "bad", f"This member computed another model than the others in round {value(wrong)}."
    return "good", "In every round that ended, this member computed the model that the others reported."


def _accused(event: Mapping[str, Any], names: Mapping[int, str]) -> str:
    other = event.get("other", event.get("member", 0))
    return f"{names.get(other, 'somebody')}, {event.get('reason', 'see the log')}"


def _notes(story: Story) -> Markup:
    if not story.notes:
        return Markup()
    rows = [
        (
            clean(each.get("timestamp", ""))[:19].replace("T", " "),
            clean(each.get("level", "")),
            clean(each["event"]),
            clean(each.get("reason", each.get("why", each.get("text", ""))), 300),
        )
        for each in story.notes
    ]
    listed = table(("time (UTC)", "level", "event", "reason"), rows)
    return element("details", element("summary", f"warnings and errors of this time: {len(rows)}"), listed)


def _terms(job: Mapping[str, Any]) -> Markup:
    return _facts(
        [
            ("task", clean(job["task"])),
            ("parameters", value(job["parameters"])),
            ("key", f"{clean(job['key_profile'])}, {short(job['key'])}"),
            ("thresholds", clean(job["terms"])),
            ("learnt beyond sums", value(job["disclosed"]) if job["disclosed"] else "nothing"),
            ("members", value([each["name"] for each in job["roster"]])),
            ("final model", element("code", clean(job["model"]))),
        ]
    )


def _facts(pairs: Sequence[tuple[str, object]]) -> Markup:
    return element("dl", *(joined(element("dt", name), element("dd", fact)) for name, fact in pairs))


def _utc(posix: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(posix))


def _footer(node: str) -> Markup:
    words = f"Made {_utc(time.time())} UTC by Starling {VERSION} at {clean(node)}, from its node and its log."
    return element("footer", words)
