package xlsform

import (
	"regexp"
	"strings"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
)

// kind is what a question's answer is.
type kind uint8

const (
	kindText kind = iota
	kindInt
	kindDouble
	kindBool
	kindOne  // a choice
	kindMany // several choices
	kindDate
	kindTime
	kindDateTime
	kindPoint
	kindFile
	kindAcknowledge // bool that is true or not there; "OK" in ODK
	kindNote
	kindCalculate // any of the above, by its expression
	kindGroup
	kindRepeat
)

// typ is what a word of the column type means.
type typ struct {
	kind   kind
	format formv1.Format
	// system: kept by the program, not asked.
	system bool
	// personal is what the answers may reveal, where the type says it.
	personal formv1.PersonalData
}

const (
	direct = formv1.PersonalData_PERSONAL_DATA_DIRECT_IDENTIFIER
	quasi  = formv1.PersonalData_PERSONAL_DATA_QUASI_IDENTIFIER
	none   = formv1.PersonalData_PERSONAL_DATA_NONE
)

// types are the words of the column type that need nothing after them.
var types = map[string]typ{
	"text":        {kind: kindText, personal: direct},
	"integer":     {kind: kindInt},
	"decimal":     {kind: kindDouble},
	"range":       {kind: kindDouble},
	"date":        {kind: kindDate, format: formv1.Format_FORMAT_DATE},
	"time":        {kind: kindTime, format: formv1.Format_FORMAT_TIME},
	"datetime":    {kind: kindDateTime, format: formv1.Format_FORMAT_DATE_TIME},
	"barcode":     {kind: kindText, format: formv1.Format_FORMAT_BARCODE, personal: quasi},
	"geopoint":    {kind: kindPoint, personal: direct},
	"geotrace":    {kind: kindText, format: formv1.Format_FORMAT_GEO_TRACE, personal: direct},
	"geoshape":    {kind: kindText, format: formv1.Format_FORMAT_GEO_SHAPE, personal: direct},
	"image":       {kind: kindFile, format: formv1.Format_FORMAT_PHOTO, personal: direct},
	"audio":       {kind: kindFile, format: formv1.Format_FORMAT_AUDIO, personal: direct},
	"video":       {kind: kindFile, format: formv1.Format_FORMAT_VIDEO, personal: direct},
	"file":        {kind: kindFile, format: formv1.Format_FORMAT_FILE, personal: direct},
	"note":        {kind: kindNote},
	"acknowledge": {kind: kindAcknowledge},
	"calculate":   {kind: kindCalculate},
	"hidden":      {kind: kindText, system: true},
	"osm":         {kind: kindText, personal: direct},

	"start":                  {kind: kindDateTime, format: formv1.Format_FORMAT_DATE_TIME, system: true},
	"end":                    {kind: kindDateTime, format: formv1.Format_FORMAT_DATE_TIME, system: true},
	"today":                  {kind: kindDate, format: formv1.Format_FORMAT_DATE, system: true},
	"deviceid":               {kind: kindText, system: true, personal: quasi},
	"subscriberid":           {kind: kindText, system: true, personal: direct},
	"simserial":              {kind: kindText, system: true, personal: direct},
	"phonenumber":            {kind: kindText, system: true, format: formv1.Format_FORMAT_PHONE, personal: direct},
	"username":               {kind: kindText, system: true, personal: quasi},
	"email":                  {kind: kindText, system: true, personal: direct},
	"caseid":                 {kind: kindText, system: true, personal: quasi},
	"start-geopoint":         {kind: kindPoint, system: true, personal: direct},
	"background-geopoint":    {kind: kindPoint, system: true, personal: direct},
	"background-audio":       {kind: kindFile, system: true, format: formv1.Format_FORMAT_AUDIO, personal: direct},
	"audit":                  {kind: kindFile, system: true, format: formv1.Format_FORMAT_FILE, personal: direct},
	"text audit":             {kind: kindFile, system: true, format: formv1.Format_FORMAT_FILE, personal: direct},
	"audio audit":            {kind: kindFile, system: true, format: formv1.Format_FORMAT_AUDIO, personal: direct},
	"speed violations count": {kind: kindInt, system: true},
	"speed violations list":  {kind: kindText, system: true},
	"speed violations audit": {kind: kindFile, system: true, format: formv1.Format_FORMAT_FILE},
	"comments":               {kind: kindFile, system: true, format: formv1.Format_FORMAT_FILE, personal: direct},
	"sensor_statistic":       {kind: kindDouble, system: true},
	"sensor_stream":          {kind: kindFile, system: true, format: formv1.Format_FORMAT_FILE},
}

// typeWords are other words for types.
var typeWords = map[string]string{
	"string": "text", "int": "integer", "gps": "geopoint", "location": "geopoint", "photo": "image", "picture": "image", "draw": "image", "signature": "image", "annotate": "image",
	"date time": "datetime", "date_time": "datetime", "trigger": "acknowledge", "calculation": "calculate", "calculate_here": "calculate",
	"imei": "deviceid", "device id": "deviceid", "device_id": "deviceid", "get device id": "deviceid", "subscriber id": "subscriberid", "get subscriber id": "subscriberid",
	"sim id": "simserial", "get sim id": "simserial", "sim serial": "simserial", "phone number": "phonenumber", "get phone number": "phonenumber",
	"start time": "start", "starttime": "start", "get start time": "start", "end time": "end", "endtime": "end", "get end time": "end", "get today": "today",
	"text_audit": "text audit", "audio_audit": "audio audit", "speed_violations_count": "speed violations count", "speed_violations_list": "speed violations list", "speed_violations_audit": "speed violations audit",
	"bar code": "barcode", "qrcode": "barcode", "qr code": "barcode", "number": "decimal", "float": "decimal", "double": "decimal", "phone": "phonenumber", "percentage": "integer",
	"score__row": "score row", "rank__level": "rank level",
}

// listTypes are the words before the name of a list.
var listTypes = []struct {
	word string
	many bool
	rank bool
	file bool
}{
	{"select_one_from_file", false, false, true}, {"select one from file", false, false, true},
	{"select_multiple_from_file", true, false, true}, {"select multiple from file", true, false, true},
	{"select_one_external", false, false, false}, {"select one external", false, false, false},
	{"select_one", false, false, false}, {"select one from", false, false, false}, {"select one using", false, false, false}, {"select one", false, false, false}, {"select1", false, false, false},
	{"add select one prompt using", false, false, false}, {"add select multiple prompt using", true, false, false},
	{"select_multiple", true, false, false}, {"select multiple from", true, false, false}, {"select multiple using", true, false, false}, {"select multiple", true, false, false},
	{"select all that apply from", true, false, false}, {"select all that apply", true, false, false},
	{"rank", true, true, false},
}

// parsedType is the cell of the column type, read.
type parsedType struct {
	word string // in small letters, with single spaces
	typ  typ
	list string // name of the list of choices, or of its file
	file bool
	rank bool
	// external: the list is on the sheet external_choices.
	external bool
	orOther  bool
	known    bool
}

var orOther = regexp.MustCompile(`(?i)\s+(or[ _]other|or specify other)$`)

// parseType reads a cell of the column type.
func parseType(cell string) parsedType {
	text := strings.TrimSpace(spaces.ReplaceAllString(cell, " "))
	word := strings.ToLower(text)
	for _, lt := range listTypes {
		if !strings.HasPrefix(word, lt.word+" ") {
			continue
		}
		rest := strings.TrimSpace(text[len(lt.word):])
		p := parsedType{word: lt.word, file: lt.file, rank: lt.rank, known: true, external: strings.HasSuffix(lt.word, "external")}
		p.typ.kind = kindOne
		if lt.many {
			p.typ.kind = kindMany
		}
		if lt.rank {
			p.typ.format = formv1.Format_FORMAT_RANK
		}
		if orOther.MatchString(" " + rest) {
			p.orOther = true
			rest = orOther.ReplaceAllString(" "+rest, "")
		}
		p.list = strings.TrimSpace(rest)
		return p
	}
	p := parsedType{word: word}
	switch {
	case beginsWith(word, "repeat", "roster"):
		p.typ.kind, p.known = kindRepeat, true
		return p
	case beginsWith(word, "group", "score", "rank", "kobomatrix", "matrix", "loop"):
		p.typ.kind, p.known = kindGroup, true
		return p
	}
	if other := typeWords[word]; other != "" {
		p.word = other
	}
	for _, sensor := range []string{"sensor_statistic", "sensor_stream"} { // which one follows
		if strings.HasPrefix(word, sensor) {
			p.word = sensor
		}
	}
	p.typ, p.known = types[p.word]
	return p
}

// beginsWith tells whether the type begins a section of one of the kinds: "begin group", "begin_group", "begin lgroup".
func beginsWith(word string, sections ...string) bool {
	rest, ok := strings.CutPrefix(word, "begin")
	if !ok {
		return false
	}
	rest = strings.TrimLeft(rest, " _")
	for _, s := range sections {
		if rest == s || s == "loop" && strings.HasPrefix(rest, "loop") || s == "repeat" && (rest == "lgroup" || rest == "looped group" || rest == "repeat group") {
			return true
		}
	}
	return false
}

// ends tells whether the type ends a section.
func ends(word string) bool {
	rest, ok := strings.CutPrefix(word, "end")
	if !ok || rest == "" || rest[0] != ' ' && rest[0] != '_' {
		return false
	}
	switch strings.TrimLeft(rest, " _") {
	case "group", "repeat", "roster", "score", "rank", "kobomatrix", "matrix", "loop", "lgroup", "looped group", "repeat group":
		return true
	}
	return false
}

// yes reads yes and no as XLSForms write them. ok is false for anything else, such as an expression.
func yes(cell string) (value, ok bool) {
	switch strings.ToLower(strings.TrimSpace(cell)) {
	case "yes", "true", "true()", "1", "y", "t", "oui", "si", "sí", "x":
		return true, true
	case "no", "false", "false()", "0", "n", "f", "non", "":
		return false, true
	}
	return false, false
}
