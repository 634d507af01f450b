"""Loads the export of {{plain .Study}} into pandas, labels it, merges the levels and weighs.

    python3 scripts/analysis.py [FOLDER]     FOLDER is that of the export; without it, the folder above this script.

Afterwards (python3 -i): tables (one data frame per level), with_above("school_attempt") (a level with all levels above it), people
and households (those two, merged), estimate(x, w, strata, psu, rows) for means and their standard errors.
"""
import math
import os
import sys

import pandas as pd

FOLDER = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
# Of each table: the variables that are numbers, and those that are codes with their labels.
SCHEMA = {
{{- range .Tables}}
    {{q .Name}}: ([{{list .Numbers}}], {
{{- range .Codes}}
        {{q .Name}}: ({{q .Label}}, { {{- range $k, $v := .Values}}{{if $k}}, {{end}}{{$v.Code}}: {{label $v}}{{end}}}),
{{- end}}
    }),
{{- end}}
}


def load_table(name):
    """One level. Of a coded variable x there are x (labels, a categorical) and x_code (the number)."""
    numbers, codes = SCHEMA[name]
    raw = pd.read_csv(os.path.join(FOLDER, "csv", name + ".csv"), dtype=str, encoding="utf-8-sig", keep_default_na=False, na_values=[""])
    columns = {}
    for v in raw.columns:
        if v in numbers:
            columns[v] = pd.to_numeric(raw[v])
        elif v in codes:
            code = pd.to_numeric(raw[v])
            columns[v + "_code"] = code
            columns[v] = code.map(codes[v][1]).astype("category")
        else:
            columns[v] = raw[v]
    return pd.DataFrame(columns, index=raw.index)


# The levels above each level, the nearest first, and the keys: as the lower level calls them, and as the level itself does.
ABOVE = {
{{- range $i, $t := .Tables}}{{if $t.Above}}
    {{q $t.Name}}: [{{range $k, $l := $t.Above}}{{if $k}}, {{end}}({{q $l.Name}}, [{{list $l.Lower}}], [{{list $l.Keys}}]){{end}}],
{{- end}}{{end}}
}


def with_above(name):
    """A level with the variables of all levels above it: one row for each of its own, in their order."""
    d = tables[name]
    for level, lower, keys in ABOVE.get(name, []):
        upper = tables[level]
        new = [c for c in upper.columns if c not in d.columns]
        found = upper[keys + new].drop_duplicates(keys).rename(columns={k: "key_" + k for k in keys})
        d = d.merge(found, left_on=lower, right_on=["key_" + k for k in keys], how="left").drop(columns=["key_" + k for k in keys])
    return d


def estimate(x, w=None, strata=None, psu=None, rows=None):
    """The weighted mean of rows (all, where none are named) and its standard error, by linearisation: clusters are drawn within
    strata with replacement, and those without a row that counts are clusters too."""
    keep = x.notna() if rows is None else x.notna() & rows
    if w is not None:
        keep = keep & w.notna()
    n = int(keep.sum())
    if n == 0:
        return float("nan"), float("nan"), 0
    x = x.where(keep, 0).astype(float)
    simple = w is None and strata is None and psu is None
    w = keep.astype(float) if w is None else w.where(keep, 0).astype(float)
    mean = (x * w).sum() / w.sum()
    d = pd.DataFrame({"z": w * (x - mean) / w.sum()})
    if simple:
        d = d[keep]
    d["psu"] = range(len(d)) if psu is None else psu.fillna("").values
    d["stratum"] = 0 if strata is None else strata.fillna("").values
    variance = 0.0
    for _, s in d.groupby("stratum"):
        totals = s.groupby("psu")["z"].sum()
        if len(totals) == 1:  # alone in its stratum: as far from the mean of all, as R's survey does with "adjust"
            variance += float((totals ** 2).sum())
        else:
            variance += len(totals) / (len(totals) - 1) * ((totals - totals.mean()) ** 2).sum()
    return mean, math.sqrt(variance) if n > 1 else float("nan"), n


tables = {name: load_table(name) for name in SCHEMA}
{{if .Household}}
households = with_above("household")
{{if .Person}}people = with_above("person")
{{end}}
study = households[(households["analysis_set_code"] == 1) & (households["in_study_code"] == 1)]
weight = strata = psu = None
{{if .Weights}}if study["weight"].notna().any():
    if study["weight"].isna().any():
        print(study["weight"].isna().sum(), "households have no weight, their sample has no probabilities: they are left out")
    study = study[study["weight"].notna()]
    weight = study["weight"]  # strata and clusters count where all have them
    strata = study["design_stratum"] if study["design_stratum"].notna().all() else None
    psu = study["design_psu"] if study["design_psu"].notna().all() else None
{{end}}print("%-28s %24s %24s" % ("", "rural migrant", "mixed-status"))
for v in ("owns_home_here_code", "any_urban_pension_code", "any_local_health_code", "split_household_code", "head_age", "size_of_household", "income_yuan"):
    if v not in study.columns:
        continue
    cells = []
    for kind in (1, 2):
        rows = study["household_kind_code"] == kind
        cells.append("%12.3f (%9.3f)" % estimate(study[v], weight, strata, psu, rows)[:2])
    print("%-28s %24s %24s" % (v.replace("_code", ""), *cells))
{{end}}
