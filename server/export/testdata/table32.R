# Fits the model of Table 3.2 to an export: Rscript table32.R FOLDER PRICES OUT
args <- commandArgs(trailingOnly = TRUE)
sink(nullfile()); source(file.path(args[1], "scripts", "analysis.R")); sink()
price <- read.csv(args[2], colClasses = c("character", "numeric"))
d <- merge(study, price, by = "survey_city")
d$own <- d$owns_home_here_code
for (v in c("head_female", "split_household", "farm_production")) d[[v]] <- d[[paste0(v, "_code")]]
d$income <- d$income_yuan / 10000
d$central <- as.numeric(d$region_code == 2); d$western <- as.numeric(d$region_code == 3)
x <- c("n_urban_pension", "n_local_health", "n_unemployment", "n_injury", "n_maternity", "n_fund", "share_city_hukou", "share_rural_migrants",
  "head_age", "head_female", "size_of_household", "adult_education", "income", "n_employees", "n_public", "n_contract", "n_temporary", "n_farmers",
  "n_self_employed", "share_intra_provincial", "split_household", "farm_production", "n_health_elsewhere", "central", "western", "price")
d <- d[complete.cases(d[, c("own", "survey_city", x)]), ]
# In units of about one, in which the optimiser does well; put back afterwards.
scale <- sapply(x, function(v) sd(d[[v]])); z <- d
for (v in x) z[[v]] <- (d[[v]] - mean(d[[v]])) / scale[[v]]
m <- lme4::glmer(reformulate(c(x, "(1 | survey_city)"), "own"), data = z, family = binomial, nAGQ = 1L,
  control = lme4::glmerControl(optimizer = "nloptwrap", calc.derivs = FALSE, optCtrl = list(ftol_abs = 1e-5, xtol_abs = 1e-5, maxeval = 400)))
b <- lme4::fixef(m)[x] / scale; V <- as.matrix(vcov(m))[x, x] / outer(scale, scale)
out <- data.frame(variable = c(x, "city_sd", "n", "cities"), estimate = c(b, sqrt(lme4::VarCorr(m)$survey_city[1]), nrow(d), length(unique(d$survey_city))),
  se = c(sqrt(diag(V)), NA, NA, NA))
write.csv(out, args[3], row.names = FALSE)
write.csv(V, sub("[.]csv$", "-v.csv", args[3]), row.names = FALSE)
truth <- read.csv(file.path(dirname(args[2]), "truth.csv")); stopifnot(identical(truth$variable, x))
q <- as.numeric(t(b - truth$b) %*% solve(V) %*% (b - truth$b))
cat(sprintf("joint %.6f\n", pchisq(q, length(x), lower.tail = FALSE)))
