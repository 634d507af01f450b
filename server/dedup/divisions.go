package dedup

import "strings"

// recodedCounties are county codes of GB/T 2260 that were replaced, each with the one of today. It holds Guizhou, where all prefectures
// but three were made anew since 1997: Zunyi (1997), Anshun (2000), Bijie and Tongren (2011), and the counties that became districts or cities
// since. Codes of other provinces are taken as they are told.
const recodedCounties = `
522101 520302 522121 520304 520321 520304 522122 520322 522123 520323 522124 520324 522125 520325 522126 520326 522127 520327 522128 520328
522129 520329 522130 520382 522131 520381 522132 520330
522501 520402 522502 520181 522522 520121 522523 520122 522524 520123 522526 520403 520421 520403 522527 520422 522528 520424 522529 520423
522530 520425 520114 520111
522401 520502 522422 520521 522423 520581 520522 520581 522424 520523 522425 520524 522426 520525 522427 520526 522428 520527
522201 520602 522222 520621 522223 520622 522224 520623 522225 520624 522226 520625 522227 520626 522228 520627 522229 520628 522230 520603
520202 520281 520222 520281 522322 522302`

// recoded maps each replaced county code to that of today.
var recoded = func() map[string]string {
	out := map[string]string{}
	codes := strings.Fields(recodedCounties)
	for i := 0; i+1 < len(codes); i += 2 {
		out[codes[i]] = codes[i+1]
	}
	return out
}()

// today is a division code with its county as it is coded today. What stands behind the county stays: townships kept their numbers.
func today(code string) string {
	if len(code) >= 6 {
		if now, ok := recoded[code[:6]]; ok {
			return now + code[6:]
		}
	}
	return code
}
