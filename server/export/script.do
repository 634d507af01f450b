* Loads the export of {{plain .Study}} into Stata 14 or later, merges the levels and sets the survey design.
*   cd FOLDER        (that of the export)
*   do scripts/analysis.do
* The files bring their labels along; label language zh shows them in Chinese. The reasons for missing answers are
* .r refused, .d not known, .n not applicable, .s not asked.
version 14
set more off
{{if .Household}}
use "stata/interview.dta", clear
capture drop canonical_household_id
tempfile interviews
save `interviews'

use "stata/household.dta", clear
merge m:1 interview_id using `interviews', keep(match) nogenerate
tempfile households
save `households'
{{if .Person}}
use "stata/person.dta", clear
merge m:1 interview_id household_id using `households', keep(match) nogenerate
tempfile people
save `people'
{{end}}
use `households', clear
keep if analysis_set == 1 & in_study == 1
{{if .Weights}}count if !missing(weight)
if r(N) > 0 {
    svyset design_psu [pweight=weight], strata(design_stratum) singleunit(centered)
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
