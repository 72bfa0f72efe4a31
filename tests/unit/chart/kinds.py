"""What the API server takes, as far as a schema can say it: names, labels, quantities, addresses, and parts of its objects.

`DEFS` are the `$defs` of the chart's schema. Patterns have no look-ahead: helm's regular expressions know none.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

_LABEL = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_SUBDOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_WORD = "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_PREFIX = r"[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?([.][A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*"
_HOST = f"{_LABEL}([.]{_LABEL})*"
KEY = "([A-Za-z0-9_-]|[.][A-Za-z0-9_-])[A-Za-z0-9._-]{0,251}"
"""A key of a ConfigMap or a Secret: not `.`, and no two dots in front."""
_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_GROUP = "[0-9A-Fa-f]{1,4}"
_IPV6 = "|".join(
    [
        f"({_GROUP}:){{7}}{_GROUP}",
        f"({_GROUP}:){{1,7}}:",
        *(f"({_GROUP}:){{1,{n}}}(:{_GROUP}){{1,{7 - n}}}" for n in range(6, 0, -1)),
        f":(:{_GROUP}){{1,7}}",
        "::",
    ]
)
_BYTES = (
    r"[+]?(([0-9]+([.][0-9]*)?|[.][0-9]+)([KMGTPE]i|[kMGTPE]|[eE][+]?[1-9][0-9]*)|[0-9]+([.]0*)?|[0-9]*000m)"
)
"""Whole ones: `400m` would be less than one byte."""
_COUNT = r"[+]?([0-9]+([.]0*)?([KMGTPE]i|[kMGTPE]|[eE][+]?[0-9]+)?|[0-9]*000m)"
_SPAN = "([0-9]+y)?([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?"
_QUANTITY = r"[+]?([0-9]+([.][0-9]*)?|[.][0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][-+]?[0-9]+)?"
PORT = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_REPOSITORY = (
    rf"(([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(:{PORT})?/)?"
    "[a-z0-9]+(([._]|__|-+)[a-z0-9]+)*(/[a-z0-9]+(([._]|__|-+)[a-z0-9]+)*)*"
)
_MOST = 2**31 - 1


def _text(pattern: str, most: int = 0, **more: Any) -> Schema:
    found: Schema = {"type": "string", "pattern": f"^{pattern}$", **more}
    return {**found, "maxLength": most} if most else found


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _list(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, **more}


def _whole(least: int, most: int = _MOST) -> Schema:
    return {"type": "integer", "minimum": least, "maximum": most}


def _enum(*words: str) -> Schema:
    return {"enum": list(words)}


def _open(required: str = "", /, **properties: Schema) -> Schema:
    """An object with these keys and perhaps others; `required` names some of them."""
    found: Schema = {"type": "object", "properties": properties}
    return {**found, "required": required.split()} if required else found


def _object(required: str = "", /, **properties: Schema) -> Schema:
    """An object with these keys alone."""
    return {**_open(required, **properties), "additionalProperties": False}


def _when(key: str, than: Schema, value: Schema | None = None) -> Schema:
    """Where the key is there (and its value as this), the object is so besides."""
    return {"if": {"required": [key], "properties": {key: value or {}}}, "then": than}


def _requirement(*operators: str) -> Schema:
    """A key, an operator, and as many values as that operator takes. Gt and Lt compare whole numbers."""
    number = _text("[0-9]{1,18}")
    return {
        **_object(
            "key operator",
            key=_ref("labelKey"),
            operator=_enum(*operators),
            values=_list(_ref("labelValue")),
        ),
        "allOf": [
            _when(
                "operator",
                {"required": ["values"], "properties": {"values": {"minItems": 1}}},
                _enum("In", "NotIn"),
            ),
            _when("operator", {"properties": {"values": {"maxItems": 0}}}, _enum("Exists", "DoesNotExist")),
            _when(
                "operator",
                {"required": ["values"], "properties": {"values": _list(number, minItems=1, maxItems=1)}},
                _enum("Gt", "Lt"),
            ),
        ],
    }


_NAMES: dict[str, Schema] = {
    "name": _text(_SUBDOMAIN, 253),
    "nameOrNone": _text(f"({_SUBDOMAIN})?", 253),
    "label": _text(_LABEL),
    "key": _text(KEY),
    "labelKey": _text(f"({_SUBDOMAIN}/)?{_WORD}", 317),
    "labelValue": _text(f"({_WORD})?"),
    "annotationKey": _text(f"({_PREFIX}/)?{_WORD}", 317),
    "portName": _text("[a-z0-9](-?[a-z0-9])*", 15, allOf=[{"pattern": "[a-z]"}]),
    "host": _text(_HOST, 253, **{"not": {"pattern": "^[0-9]+([.][0-9]+){3}$"}}),
    "hostOrWildcard": _text(f"([*][.])?{_HOST}", 253, **{"not": {"pattern": "^[0-9]+([.][0-9]+){3}$"}}),
    "cidr": _text(
        f"({_OCTET}([.]{_OCTET}){{3}}/([0-9]|[12][0-9]|3[0-2])|({_IPV6})/([0-9]|[1-9][0-9]|1[01][0-9]|12[0-8]))"
    ),
    "repository": _text(_REPOSITORY, 255),
    "tag": _text("([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"),
    "port": _whole(1, 65535),
    "quantity": {"anyOf": [_text(_QUANTITY), {"type": "number", "minimum": 0}]},
    "bytes": {"anyOf": [_text(_BYTES), {"type": "integer", "minimum": 0}]},
    "count": {"anyOf": [_text(_COUNT), {"type": "integer", "minimum": 0}]},
    "digest": _text("(sha256:[a-f0-9]{64}|sha384:[a-f0-9]{96}|sha512:[a-f0-9]{128})?"),
    "span": {**_text(_SPAN), "allOf": [{"pattern": "[1-9]"}]},
    "countOrPercent": {"anyOf": [_whole(1), _text("([1-9][0-9]?|100)%")]},
}

_MAPS: dict[str, Schema] = {
    "labels": {
        "type": "object",
        "propertyNames": _ref("labelKey"),
        "additionalProperties": _ref("labelValue"),
    },
    "annotations": {
        "type": "object",
        "propertyNames": _ref("annotationKey"),
        "additionalProperties": {"type": "string"},
    },
    "alertLabels": {
        "type": "object",
        "propertyNames": _text("[A-Za-z_][A-Za-z0-9_]*"),
        "additionalProperties": {"type": "string"},
    },
    "quantities": {
        "type": "object",
        "propertyNames": _text(
            f"(cpu|memory|ephemeral-storage|hugepages-{_QUANTITY}|{_SUBDOMAIN}/{_WORD})", 317
        ),
        "properties": {"cpu": _ref("quantity"), "memory": _ref("bytes"), "ephemeral-storage": _ref("bytes")},
        "patternProperties": {"^hugepages-": _ref("bytes"), "/": _ref("count")},
    },
    "resources": _object(requests=_ref("quantities"), limits=_ref("quantities")),
    "selector": _object(
        matchLabels=_ref("labels"),
        matchExpressions=_list(_requirement("In", "NotIn", "Exists", "DoesNotExist")),
    ),
}

_NETWORK: dict[str, Schema] = {
    "peer": {
        **_object(
            podSelector=_ref("selector"),
            namespaceSelector=_ref("selector"),
            ipBlock=_object("cidr", cidr=_ref("cidr"), **{"except": _list(_ref("cidr"))}),
        ),
        "minProperties": 1,
        **_when("ipBlock", {"maxProperties": 1}),
    },
    "networkPort": {
        **_object(
            port={"anyOf": [_ref("port"), _ref("portName")]},
            protocol=_enum("TCP", "UDP", "SCTP"),
            endPort=_ref("port"),
        ),
        **_when("endPort", {"required": ["port"], "properties": {"port": {"type": "integer"}}}),
    },
    "egress": _object(to=_list(_ref("peer")), ports=_list(_ref("networkPort"))),
    "tls": _object(hosts=_list(_ref("hostOrWildcard")), secretName=_ref("name")),
    "parentRef": _object(
        "name",
        group=_ref("nameOrNone"),
        kind=_text("[a-zA-Z]([-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?"),
        name={"type": "string", "minLength": 1, "maxLength": 253},
        namespace=_ref("label"),
        sectionName=_ref("name"),
        port=_ref("port"),
    ),
    "matcher": _object(
        "name",
        name={"type": "string", "minLength": 1},
        value={"type": "string"},
        matchType=_enum("!=", "=", "=~", "!~"),
        regex={"type": "boolean"},
    ),
}


def _weighted(what: str, part: Schema) -> Schema:
    return _list(_object(f"weight {what}", weight=_whole(1, 100), **{what: part}))


_SELECTED = {"required": ["labelSelector"]}
_TERM = {
    **_object(
        "topologyKey",
        topologyKey=_ref("labelKey"),
        labelSelector=_ref("selector"),
        namespaceSelector=_ref("selector"),
        namespaces=_list(_ref("label")),
        matchLabelKeys=_list(_ref("labelKey")),
        mismatchLabelKeys=_list(_ref("labelKey")),
    ),
    "allOf": [_when("matchLabelKeys", _SELECTED), _when("mismatchLabelKeys", _SELECTED)],
}
_NEAR = _object(
    requiredDuringSchedulingIgnoredDuringExecution=_list(_TERM),
    preferredDuringSchedulingIgnoredDuringExecution=_weighted("podAffinityTerm", _TERM),
)
_FIELD = _object(
    "key operator values",
    key={"const": "metadata.name"},
    operator=_enum("In", "NotIn"),
    values=_list(_ref("name"), minItems=1, maxItems=1),
)
_NODE = _object(
    matchExpressions=_list(_requirement("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt")),
    matchFields=_list(_FIELD),
)
_POLICY = _enum("Honor", "Ignore")

_PLACE: dict[str, Schema] = {
    "affinity": _object(
        nodeAffinity=_object(
            requiredDuringSchedulingIgnoredDuringExecution=_object(
                "nodeSelectorTerms", nodeSelectorTerms=_list(_NODE, minItems=1)
            ),
            preferredDuringSchedulingIgnoredDuringExecution=_weighted("preference", _NODE),
        ),
        podAffinity=_NEAR,
        podAntiAffinity=_NEAR,
    ),
    "toleration": {
        **_object(
            key={"anyOf": [_ref("labelKey"), {"const": ""}]},
            operator=_enum("Exists", "Equal", "Gt", "Lt"),
            value=_ref("labelValue"),
            effect=_enum("", "NoSchedule", "PreferNoSchedule", "NoExecute"),
            tolerationSeconds={"type": "integer"},
        ),
        "allOf": [
            _when(
                "tolerationSeconds",
                {"required": ["effect"], "properties": {"effect": {"const": "NoExecute"}}},
            ),
            _when("operator", {"properties": {"value": {"maxLength": 0}}}, {"const": "Exists"}),
            {
                "if": {"properties": {"key": {"const": ""}}},
                "then": {"required": ["operator"], "properties": {"operator": {"const": "Exists"}}},
            },
        ],
    },
    "spread": {
        **_object(
            "maxSkew topologyKey whenUnsatisfiable",
            maxSkew=_whole(1),
            topologyKey=_ref("labelKey"),
            whenUnsatisfiable=_enum("DoNotSchedule", "ScheduleAnyway"),
            labelSelector=_ref("selector"),
            minDomains=_whole(1),
            matchLabelKeys=_list(_ref("labelKey")),
            nodeAffinityPolicy=_POLICY,
            nodeTaintsPolicy=_POLICY,
        ),
        "allOf": [
            _when("minDomains", {"properties": {"whenUnsatisfiable": {"const": "DoNotSchedule"}}}),
            _when("matchLabelKeys", _SELECTED),
        ],
    },
}

_PODS: dict[str, Schema] = {
    "variable": {
        **_object(
            "name",
            name=_text("[ -<>-~]+"),
            value={"type": "string"},
            valueFrom={"type": "object", "minProperties": 1, "maxProperties": 1},
        ),
        **_when("valueFrom", {"properties": {"value": {"maxLength": 0}}}),
    },
    "volume": {**_open("name", name=_ref("label")), "maxProperties": 2},
    "mount": {
        **_object(
            "name mountPath",
            name=_ref("label"),
            mountPath=_text("[^:]+"),
            readOnly={"type": "boolean"},
            recursiveReadOnly=_enum("Disabled", "IfPossible", "Enabled"),
            mountPropagation=_enum("None", "HostToContainer", "Bidirectional"),
            subPath={"type": "string", "not": {"pattern": "^/|(^|/)[.][.](/|$)"}},
            subPathExpr={"type": "string", "not": {"pattern": "^/|(^|/)[.][.](/|$)"}},
        ),
        "allOf": [
            _when("subPathExpr", {"properties": {"subPath": {"maxLength": 0}}}, {"minLength": 1}),
            _when(
                "recursiveReadOnly",
                {
                    "required": ["readOnly"],
                    "properties": {"readOnly": {"const": True}, "mountPropagation": {"const": "None"}},
                },
                _enum("IfPossible", "Enabled"),
            ),
        ],
    },
    "container": _open(
        "name image",
        name=_ref("label"),
        image=_text("[^ ]+"),
        imagePullPolicy=_enum("Always", "IfNotPresent", "Never"),
        args=_list({"type": "string"}),
        command=_list({"type": "string"}),
        env=_list(_ref("variable")),
        volumeMounts=_list(_ref("mount")),
        resources=_ref("resources"),
        ports=_list(
            _open(
                "containerPort",
                name=_ref("portName"),
                containerPort=_ref("port"),
                hostPort=_ref("port"),
                protocol=_enum("TCP", "UDP", "SCTP"),
            )
        ),
    ),
}

DEFS: dict[str, Schema] = {**_NAMES, **_MAPS, **_NETWORK, **_PLACE, **_PODS}
