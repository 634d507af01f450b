package study

import (
	"math"
	"math/rand/v2"
	"strconv"

	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"google.golang.org/protobuf/proto"
)

// publishedProvinces are the 29 provinces of the published survey by the codes that begin their division codes: all but
// Tibet and Xinjiang.
var publishedProvinces = []string{
	"11", "12", "13", "14", "15", "21", "22", "23", "31", "32", "33", "34", "35", "36", "37", "41", "42", "43", "44", "45", "46", "50", "51", "52", "53", "61", "62", "63", "64",
}

// PublishedHouseholds is how many households the published survey analysed.
const PublishedHouseholds = 1736

// citiesPerProvince is how many cities of a province are surveyed.
const citiesPerProvince = 4

// Published makes the study of SimulateOptions a study of China: households live in cities of 29 provinces in place of one
// city. Nothing else of them is changed: who was registered in the province of the city is registered in that of the new one.
// Each interview is changed as it comes. i counts the interviews.
func Published(i int, iv *surveyv1.Interview) {
	province := publishedProvinces[i%len(publishedProvinces)]
	city := i / len(publishedProvinces) % citiesPerProvince
	move := func(p *surveyv1.Place) {
		code := p.GetDivisionCode()
		if len(code) < 6 {
			return
		}
		switch {
		case code[:4] == "5201": // the city of the survey, and its counties
			code = province + "0" + strconv.Itoa(city+1) + code[4:]
		case code[:2] == "52":
			code = province + "9" + code[3:]
		case code[:2] == province:
			code = "52" + code[2:]
		}
		p.DivisionCode, p.Province, p.Prefecture, p.County = proto.String(code), nil, nil, nil
	}
	h := iv.GetHousehold()
	move(iv.GetPlace())
	move(h.GetCover().GetSurveyPlace())
	for _, m := range h.GetMembers() {
		move(m.GetHukouPlace())
		move(m.GetLivesAt())
	}
}

// Coefficients are those of the published model of owning a home (its Table 3.2), by the names of the derived variables.
// Income is in 10,000 yuan, and price the median price of housing in the city in yuan a square metre by 10.
var Coefficients = []struct {
	Name string
	B    float64
}{
	{"n_urban_pension", .370}, {"n_local_health", .173}, {"n_unemployment", .187}, {"n_injury", .089}, {"n_maternity", .015}, {"n_fund", .060},
	{"share_city_hukou", 2.507}, {"share_rural_migrants", -.798}, {"head_age", .027}, {"head_female", -.047}, {"size_of_household", .313},
	{"adult_education", .126}, {"income", .008}, {"n_employees", -.277}, {"n_public", .025}, {"n_contract", -.357}, {"n_temporary", -.283},
	{"n_farmers", .983}, {"n_self_employed", .236}, {"share_intra_provincial", .665}, {"split_household", -.675}, {"farm_production", -.344},
	{"n_health_elsewhere", -.140}, {"central", .626}, {"western", .198}, {"price", -.002},
}

// CitySD is the standard deviation of the random intercept of cities: the published one is 0.529.
const CitySD = .529

// CityPrice is a median price of housing in a city, and CityIntercept what its homes are owned more or less than elsewhere, both
// drawn from the seed. City is the derived variable survey_city.
func CityPrice(seed uint64, city string) float64 {
	return math.Round(math.Exp(6.2 + .4*cityDraw(seed, city).NormFloat64()))
}

// CityIntercept is drawn from a normal distribution with CitySD.
func CityIntercept(seed uint64, city string) float64 {
	r := cityDraw(seed, city)
	r.NormFloat64()
	return CitySD * r.NormFloat64()
}

func cityDraw(seed uint64, city string) *rand.Rand {
	n, _ := strconv.ParseUint(city, 10, 64) // digits, by its definition
	return rand.New(rand.NewPCG(seed^streamOwns, n))
}

const streamOwns = 0x2545f4914f6cdd1d

// Own decides anew by the model whether a household owns its home. Eta is what the model makes of its variables.
func Own(seed uint64, i int, eta float64, iv *surveyv1.Interview) {
	r := rand.New(rand.NewPCG(seed^streamOwns, uint64(i)<<20|1))
	h := iv.GetHousehold().GetHousing()
	h.Tenure = surveyv1.HousingTenure_HOUSING_TENURE_RENTS.Enum()
	if r.Float64() < 1/(1+math.Exp(-eta)) {
		h.Tenure = surveyv1.HousingTenure_HOUSING_TENURE_OWNS_IN_SURVEY_CITY.Enum()
	}
	h.OwnsOtherHomeInSurveyCity = surveyv1.YesNo_YES_NO_NO.Enum()
}
