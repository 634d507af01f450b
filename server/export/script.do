* Loads the export of {{plain .Study}} into Stata 14 or later, merges the levels and sets the survey design.
*   cd FOLDER        (that of the export)
*   do scripts/analysis.do
* The files bring their labels along; label language zh shows them in Chinese. The reasons for missing answers are
* .r refused, .d not known, .n not applicable, .s not asked.
version 14
set more off

* with_above LEVEL: a level with the variables of all levels above it, one observation for each of its own.
capture program drop with_above
program define with_above
    args level
    use "stata/`level'.dta", clear
{{- range .Tables}}{{if .Above}}
    if "`level'" == {{q .Name}} {
{{- range .Above}}{{$l := .}}
{{- range $i, $r := .Renamed}}
        capture rename {{$r.Key}} lower_{{$i}}
        rename {{$r.Lower}} {{$r.Key}}
{{- end}}
        merge m:1 {{words .Keys}} using "stata/{{$l.Name}}.dta", keep(master match) nogenerate
{{- range $i, $r := .Renamed}}
        rename {{$r.Key}} {{$r.Lower}}
        capture rename lower_{{$i}} {{$r.Key}}
{{- end}}
{{- end}}
    }
{{- end}}{{end}}
end

* design: svyset with the weights, and with strata and clusters where all have them; observations without a weight go.
capture program drop design
program define design
    quietly count if missing(weight)
    if r(N) > 0 {
        display as text r(N) " observations have no weight, their sample has no probabilities: they are left out"
        quietly drop if missing(weight)
    }
    local psu _n
    local strata
    quietly count if missing(design_stratum)
    if r(N) == 0 {
        quietly egen long stratum_number = group(design_stratum)
        local strata strata(stratum_number)
    }
    quietly count if missing(design_psu)
    if r(N) == 0 {
        quietly egen long psu_number = group(design_stratum design_psu), missing
        local psu psu_number
    }
    svyset `psu' [pweight=weight], `strata' singleunit(centered)
end
{{if .Household}}
with_above household
tempfile households
save `households'
{{if .Person}}
with_above person
tempfile people
save `people'
{{end}}
use `households', clear
keep if analysis_set == 1 & in_study == 1
{{if .Weights}}quietly count if !missing(weight)
if r(N) > 0 {
    design
}
else {
    svyset _n
}
{{else}}svyset _n
{{end}}foreach v of varlist owns_home_here any_urban_pension any_local_health any_unemployment any_injury any_maternity any_fund head_age head_female size_of_household adult_education income_yuan any_public any_contract any_temporary any_farmer any_self_employed any_intra_provincial split_household farm_production any_health_elsewhere {
    svy: mean `v', over(household_kind)
}
{{else}}{{range .Tables}}
use "stata/{{.Name}}.dta", clear
describe, short
{{end}}{{end}}
