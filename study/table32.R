# Fits the model of Table 3.2 to an export of a study that was made with its coefficients (hearth simulate --published 3.2), and
# sets what comes out beside what was put in.
#   Rscript table32.R FOLDER TRUTH [OUT]     FOLDER is that of the export, TRUTH that of the simulation; OUT is a CSV file
# Needs package lme4.
args <- commandArgs(trailingOnly = TRUE)
if (length(args) < 2) stop("name the folder of the export, and the folder truth of the simulation")
if (!requireNamespace("lme4", quietly = TRUE)) stop("package lme4 is not installed")
sink(nullfile()); source(file.path(args[1], "scripts", "analysis.R")); sink()
truth <- read.csv(file.path(args[2], "coefficients.csv"))
price <- read.csv(file.path(args[2], "prices.csv"), colClasses = c("character", "numeric"))
d <- merge(study, price, by = "survey_city")
if (nrow(d) == 0) stop("no household of the export lives in a city of the simulation")
d$own <- d$owns_home_here_code
for (v in c("head_female", "split_household", "farm_production")) d[[v]] <- d[[paste0(v, "_code")]]
d$income <- d$income_yuan / 10000
d$central <- as.numeric(d$region_code == 2); d$western <- as.numeric(d$region_code == 3)
x <- setdiff(truth$variable, "city_sd")
b0 <- truth$b[match(x, truth$variable)]
d <- d[complete.cases(d[, c("own", "survey_city", x)]), ]
# In units of about one, in which the optimiser does well; put back afterwards.
scale <- sapply(x, function(v) sd(d[[v]])); z <- d
for (v in x) z[[v]] <- (d[[v]] - mean(d[[v]])) / scale[[v]]
m <- lme4::glmer(reformulate(c(x, "(1 | survey_city)"), "own"), data = z, family = binomial, nAGQ = 1L,
  control = lme4::glmerControl(optimizer = "nloptwrap", calc.derivs = FALSE, optCtrl = list(ftol_abs = 1e-5, xtol_abs = 1e-5, maxeval = 400)))
b <- lme4::fixef(m)[x] / scale; V <- as.matrix(vcov(m))[x, x] / outer(scale, scale)
se <- sqrt(diag(V)); sd <- sqrt(lme4::VarCorr(m)$survey_city[1])
cat(sprintf("%-24s %9s %9s %9s %7s\n", "", "published", "estimated", "s.e.", "off"))
cat(sprintf("%-24s %9.3f %9.3f %9.3f %7.2f\n", x, b0, b, se, (b - b0) / se), sep = "")
cat(sprintf("%-24s %9.3f %9.3f\n", "city, standard deviation", truth$b[truth$variable == "city_sd"], sd))
cat(sprintf("%d households in %d cities; %d of %d within two standard errors\n", nrow(d), length(unique(d$survey_city)), sum(abs(b - b0) <= 2 * se), length(x)))
q <- as.numeric(t(b - b0) %*% solve(V) %*% (b - b0))
cat(sprintf("joint %.6f\n", pchisq(q, length(x), lower.tail = FALSE)))
if (length(args) > 2) write.csv(data.frame(variable = c(x, "city_sd", "n", "cities"), estimate = c(b, sd, nrow(d), length(unique(d$survey_city))),
  se = c(se, NA, NA, NA)), args[3], row.names = FALSE)
