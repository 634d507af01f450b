# Loads the export of {{plain .Study}} into R, labels it, merges the levels and sets the survey design.
#   Rscript scripts/analysis.R [FOLDER]     FOLDER is that of the export; without it, the folder above this script.
# Needs R alone; package survey for the design, package haven to read the Stata or SPSS files in place of these.
# Afterwards: `tables` (one data frame per level), with_above("school_attempt") (a level with all levels above it), `people` and
# `households` (those two, merged), `design` (for survey::svymean and others).
{{- if .Household}} It prints the table of the study.{{end}}

arguments <- commandArgs(trailingOnly = TRUE)
script <- sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE))
folder <- if (length(arguments) > 0) arguments[1] else if (length(script) > 0) file.path(dirname(script[1]), "..") else "."
# Codes become factors with their labels; the number of a code is as.integer(as.character(x)) of the CSV file.
load_table <- function(name, codes = list(), numbers = character()) {
  d <- read.csv(file.path(folder, "csv", paste0(name, ".csv")), fileEncoding = "UTF-8-BOM", encoding = "UTF-8",
                colClasses = "character", na.strings = "", check.names = FALSE)
  for (v in intersect(numbers, names(d))) d[[v]] <- as.numeric(d[[v]])
  for (v in intersect(names(codes), names(d))) {
    d[[paste0(v, "_code")]] <- as.integer(d[[v]])
    d[[v]] <- factor(as.integer(d[[v]]), levels = codes[[v]]$values, labels = make.unique(codes[[v]]$labels))
    attr(d[[v]], "label") <- codes[[v]]$label
  }
  d
}

tables <- list()
{{range .Tables -}}
tables[[{{q .Name}}]] <- load_table({{q .Name}}, codes = list(
{{- range $i, $c := .Codes}}{{if $i}},{{end}}
  {{q $c.Name}} = list(label = {{q $c.Label}}, values = c({{range $k, $v := $c.Values}}{{if $k}}, {{end}}{{$v.Code}}{{end}}),
    labels = c({{range $k, $v := $c.Values}}{{if $k}}, {{end}}{{label $v}}{{end}}))
{{- end}}), numbers = c({{list .Numbers}}))
{{end}}

# The levels above each level, the nearest first, and the keys: as the lower level calls them = as the level itself does.
above <- list(
{{- range $i, $t := .Tables}}{{if $t.Above}}
  {{q $t.Name}} = list({{range $k, $l := $t.Above}}{{if $k}}, {{end}}list({{q $l.Name}}, c({{list $l.Lower}}), c({{list $l.Keys}})){{end}}),
{{- end}}{{end}}
  NULL)

# A level with the variables of all levels above it: one row for each of its own, in their order.
with_above <- function(name) {
  d <- tables[[name]]
  for (up in above[[name]]) {
    upper <- tables[[up[[1]]]]
    key <- function(x, by) do.call(paste, c(unname(as.list(x[by])), sep = "\r"))
    new <- setdiff(names(upper), names(d))
    if (length(new) > 0) d[new] <- upper[match(key(d, up[[2]]), key(upper, up[[3]])), new]
  }
  d
}

# The design of a sample: weights, and strata and clusters where all have them. Needs package survey.
survey_design <- function(d) {
  if (!requireNamespace("survey", quietly = TRUE)) return(NULL)
  options(survey.lonely.psu = "adjust")
  known <- function(v) v %in% names(d) && nrow(d) > 0 && all(!is.na(d[[v]]))
  survey::svydesign(ids = if (known("design_psu")) ~design_psu else ~1, strata = if (known("design_stratum")) ~design_stratum else NULL,
                    weights = ~w, nest = TRUE, data = d)
}
{{- if not .Household}}
{{- if .Interviews}}
interviews <- subset(tables$interview, analysis_set_code == 1)
if (any(!is.na(interviews$weight))) {
  interviews$w <- interviews$weight
  design <- survey_design(interviews[!is.na(interviews$w), ])
  cat("design: the", sum(!is.na(interviews$w)), "interviews of the analysis set that have a weight, of", nrow(interviews), "\n")
}
{{- end}}
{{- end}}
{{- if .Household}}
households <- with_above("household")
{{- if .Person}}
people <- with_above("person")
{{- end}}

# The analysis set, of the households that are in the study.
study <- subset(households, analysis_set_code == 1 & in_study_code == 1 & household_kind_code %in% 1:2)
if (nrow(study) == 0) {
  cat("no household of the analysis set is in the study\n")
} else {
{{- if .Weights}}
  weighted <- any(!is.na(study$weight))
{{- else}}
  weighted <- FALSE
{{- end}}
  study$w <- if (weighted) study$weight else rep(1, nrow(study))
  if (anyNA(study$w)) cat(sum(is.na(study$w)), "households have no weight, their sample has no probabilities: they are left out\n")
  study <- study[!is.na(study$w), ]
  design <- survey_design(study)
  percent <- c(owns_home_here = "owns a home in the city of residence", any_urban_pension = "urban pension", any_local_health = "local health insurance",
    any_unemployment = "unemployment insurance", any_injury = "work injury compensation", any_maternity = "maternity insurance",
    any_fund = "housing provident fund", head_female = "head is female", any_public = "public sector", any_contract = "formal contract",
    any_temporary = "temporary job", any_farmer = "farmer", any_self_employed = "self-employed", any_intra_provincial = "intra-provincial migrant",
    split_household = "split household", farm_production = "agricultural production last year", any_health_elsewhere = "health insurance elsewhere")
  means <- c(head_age = "age of head", size_of_household = "household size", adult_education = "education of adults", income_yuan = "income, yuan")
  # Households without a value are left out of that row; n says how many have one.
  one <- function(v, kind, scale) {
    code <- paste0(v, "_code")
    x <- if (code %in% names(study)) study[[code]] else if (v %in% names(study)) study[[v]] else return(NULL)
    keep <- study$household_kind_code == kind & !is.na(x)
    n <- sum(keep)
    m <- if (n > 0) sum(x[keep] * study$w[keep]) / sum(study$w[keep]) else NA
    se <- NA
    if (n > 1 && !is.null(design) && weighted) {
      d <- design; d$variables$value_ <- x
      se <- as.numeric(survey::SE(survey::svymean(~value_, subset(d, keep))))
    } else if (n > 1) se <- sd(x[keep]) / sqrt(n)
    data.frame(variable = v, kind = kind, n = n, estimate = scale * m, se = scale * se)
  }
  table <- do.call(rbind, c(lapply(names(percent), function(v) rbind(one(v, 1, 100), one(v, 2, 100))),
                            lapply(names(means), function(v) rbind(one(v, 1, 1), one(v, 2, 1)))))
  title <- c(percent, means)
  cat(sprintf("%-40s %22s %22s\n", "", "rural migrant", "mixed-status"))
  for (v in unique(table$variable)) {
    r <- table[table$variable == v, ]
    cat(sprintf("%-40s %12.2f (%7.2f) %12.2f (%7.2f)\n", title[[v]], r$estimate[1], r$se[1], r$estimate[2], r$se[2]))
  }
  cat(sprintf("%-40s %22d %22d\n", "N", sum(study$household_kind_code == 1), sum(study$household_kind_code == 2)))
  output <- Sys.getenv("HEARTH_TABLE")
  if (nzchar(output)) write.csv(table, output, row.names = FALSE)
}
{{- end}}
