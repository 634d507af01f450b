package study

import "math"

// margins are what the published survey found of one kind of household (its Table 3.1); shares are between 0 and 1.
type margins struct {
	owns, pension, local, unemployment, injury, maternity, fund float64
	headAge, headFemale, size, education, income                float64
	public, contract, temporary, farmer, self                   float64
	intra, split, farming, elsewhere                            float64
	sizes                                                       [8]float64 // shares of sizes 1 to 8; ours, with the published mean
}

// Kinds of household.
const (
	ruralMigrant = 0
	mixedStatus  = 1
)

// publishedHouseholds is how many households of each kind the survey had.
var publishedHouseholds = [2]int{1046, 690}

// published are the two columns of the table.
var published = [2]margins{
	ruralMigrant: {
		owns: .226, pension: .315, local: .331, unemployment: .236, injury: .266, maternity: .195, fund: .151,
		headAge: 37.4, headFemale: .319, size: 2.76, education: 3.5, income: 77156,
		public: .117, contract: .347, temporary: .227, farmer: .007, self: .220,
		intra: .502, split: .085, farming: .088, elsewhere: .628,
		sizes: [8]float64{.21, .238, .27, .18, .07, .03, .002, 0},
	},
	mixedStatus: {
		owns: .525, pension: .645, local: .603, unemployment: .386, injury: .403, maternity: .351, fund: .339,
		headAge: 40.0, headFemale: .381, size: 3.86, education: 3.9, income: 120080,
		public: .246, contract: .516, temporary: .175, farmer: .004, self: .206,
		intra: .431, split: .297, farming: .088, elsewhere: .641,
		sizes: [8]float64{0, .147, .286, .273, .18, .084, .03, 0},
	},
}

// The questions that chance answers evenly over a study: each is a sequence whose every stretch is spread over 0 to 1.
const (
	vKind = iota
	vLatent
	vSize
	vOwns
	vPension
	vLocal
	vElsewhere
	vUnemployment
	vInjury
	vMaternity
	vFund
	vHeadAge
	vHeadFemale
	vEducation
	vIncome
	vPublic
	vContract
	vTemporary
	vSelf
	vIntra
	vSplit
	vFarming
	variables
)

// steps are the fractional parts of the square roots of the first primes: irrational and independent of one another, so
// that shares come out as given however the questions are crossed.
var steps = [variables]float64{
	.41421356237309515, .7320508075688772, .2360679774997898, .6457513110645907, .3166247903554, .605551275463989,
	.12310562561766059, .358898943540674, .795831523312719, .385164807134505, .5677643628300215, .08276253029821934,
	.4031242374328485, .5574385243020004, .8556546004010439, .28010988928051805, .6811457478686078, .810249675906654,
	.18535277187245, .4261497731763586, .54400374531753, .8881944173155887,
}

// u is the place of household i in the sequence of question v, above 0 and below 1.
func (s *simulation) u(v, i int) float64 {
	x := s.shift[v] + float64(i)*steps[v]
	x -= math.Floor(x)
	return min(max(x, 1e-12), 1-1e-12)
}

// quantile is the inverse of the normal distribution.
func quantile(u float64) float64 { return math.Sqrt2 * math.Erfinv(2*u-1) }

// probability is the normal distribution.
func probability(z float64) float64 { return .5 * math.Erfc(-z/math.Sqrt2) }

// formal is u again, drawn towards how formal the household's life in the city is: what goes with contracts goes together.
func (s *simulation) formal(v, i int, weight float64) float64 {
	z := math.Sqrt(weight)*quantile(s.u(vLatent, i)) + math.Sqrt(1-weight)*quantile(s.u(v, i))
	return min(max(probability(z), 1e-12), 1-1e-12)
}
