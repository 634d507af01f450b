package xlsform

import (
	"regexp"
	"strings"
)

// column is what a header means.
type column struct {
	index  int
	header string // as it stands in the sheet
	name   string // the one name that Hearth has for all its variants; "" for a column that means nothing to Hearth
	// language is the language's name as the header has it, "" where it names none.
	language string
}

// surveyColumns are the names of columns of the survey, by the variants in use.
var surveyColumns = map[string]string{
	"type": "type", "command": "type", "name": "name", "tag": "name", "value": "name",
	"label": "label", "caption": "label", "hint": "hint", "guidance_hint": "guidance_hint", "guidance": "guidance_hint",
	"relevant": "relevant", "relevance": "relevant", "bind::relevant": "relevant", "skip_logic": "relevant",
	"constraint": "constraint", "bind::constraint": "constraint", "validation": "constraint",
	"constraint_message": "constraint_message", "constraining_message": "constraint_message", "constraint_msg": "constraint_message", "bind::jr:constraintmsg": "constraint_message", "jr:constraintmsg": "constraint_message",
	"required": "required", "bind::required": "required", "mandatory": "required",
	"required_message": "required_message", "requiredmsg": "required_message", "required_msg": "required_message", "bind::jr:requiredmsg": "required_message", "jr:requiredmsg": "required_message",
	"read_only": "read_only", "readonly": "read_only", "bind::readonly": "read_only",
	"calculation": "calculation", "calculate": "calculation", "calculations": "calculation", "bind::calculate": "calculation",
	"repeat_count": "repeat_count", "count": "repeat_count", "jr:count": "repeat_count", "control::jr:count": "repeat_count",
	"choice_filter": "choice_filter", "choice_filters": "choice_filter",
	"appearance": "appearance", "control::appearance": "appearance", "body::appearance": "appearance",
	"default": "default", "parameters": "parameters", "trigger": "trigger", "disabled": "disabled", "publishable": "publishable",
	"image": "image", "media::image": "image", "audio": "audio", "media::audio": "audio", "video": "video", "media::video": "video",
	"big_image": "big-image", "media::big_image": "big-image", "media::big-image": "big-image", "big-image": "big-image",
	"list_name": "list_name", "hearth_was": "hearth_was", "hearth_personal_data": "hearth_personal_data",
	"kobo--score-choices": "kobo_list", "kobo--rank-items": "kobo_list", "kobo--matrix_list": "kobo_list", "kobo__score_choices": "kobo_list", "kobo__rank_items": "kobo_list",
}

// choiceColumns are those of the choices.
var choiceColumns = map[string]string{
	"list_name": "list_name", "listname": "list_name", "list": "list_name", "name": "name", "value": "name", "label": "label", "caption": "label",
	"image": "image", "media::image": "image", "audio": "audio", "media::audio": "audio", "video": "video", "media::video": "video",
	"big_image": "big-image", "media::big-image": "big-image", "big-image": "big-image",
	"hearth_was": "hearth_was", "hearth_missing": "hearth_missing",
}

// settingColumns are those of the settings.
var settingColumns = map[string]string{
	"form_title": "form_title", "set_form_title": "form_title", "title": "form_title",
	"form_id": "form_id", "set_form_id": "form_id", "id_string": "form_id",
	"version": "version", "default_language": "default_language",
}

// translatable are the columns that stand once for each language.
var translatable = map[string]bool{
	"label": true, "hint": true, "guidance_hint": true, "constraint_message": true, "required_message": true,
	"image": true, "audio": true, "video": true, "big-image": true,
}

var spaces = regexp.MustCompile(`[\s\x{00a0}]+`)

// columnsOf says what the headers of a sheet mean. A header that stands there twice means something the first time only.
func columnsOf(headers []string, names map[string]string) (all []column, doubled []string) {
	seen := map[[2]string]bool{}
	for i, h := range headers {
		if h == "" {
			continue
		}
		c := column{index: i, header: strings.TrimSpace(h)}
		c.name, c.language = meaning(h, names)
		key := [2]string{c.name, c.language}
		if c.name == "" {
			key = [2]string{"", strings.ToLower(c.header)}
		}
		if seen[key] {
			doubled = append(doubled, c.header)
			c.name, c.language, c.header = "", "", c.header+"#"+itoa(i)
		}
		seen[key] = true
		all = append(all, c)
	}
	return all, doubled
}

// simple is a header in small letters with one _ for spaces.
func simple(h string) string {
	return strings.ToLower(spaces.ReplaceAllString(strings.TrimSpace(h), "_"))
}

// meaning finds the name of a header and its language.
func meaning(header string, names map[string]string) (name, language string) {
	h := strings.TrimSpace(spaces.ReplaceAllString(header, " "))
	if n, ok := names[simple(h)]; ok {
		return n, ""
	}
	parts := strings.Split(h, "::")
	if len(parts) == 1 { // label:french, media:image, media:image:french
		parts = strings.Split(h, ":")
	}
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	for n := len(parts) - 1; n >= 1; n-- {
		base := simple(strings.Join(parts[:n], "::"))
		rest := strings.Join(parts[n:], "::")
		if found, ok := names[base]; ok && translatable[found] {
			return found, rest
		}
	}
	if n, ok := names[simple(strings.Join(parts, "::"))]; ok {
		return n, ""
	}
	return "", ""
}

// texts are the cells of one column in each language, by the language's name in the header.
type texts map[string]string

// record is a row by the meaning of its columns.
type record struct {
	number int
	cells  map[string]string // name of the column -> text, of columns that have one language
	texts  map[string]texts
	extra  map[string]string // header -> text, of columns that mean nothing to Hearth
	where  map[string]int    // name of the column -> its index
}

// get is the text of a column without spaces around it.
func (r *record) get(name string) string { return strings.TrimSpace(r.cells[name]) }

// recordOf reads a row.
func recordOf(r row, columns []column) *record {
	rec := &record{number: r.number, cells: map[string]string{}, texts: map[string]texts{}, extra: map[string]string{}, where: map[string]int{}}
	for _, c := range columns {
		text := r.cell(c.index)
		if text == "" {
			continue
		}
		switch {
		case c.name == "":
			rec.extra[c.header] = text
		case translatable[c.name]:
			if rec.texts[c.name] == nil {
				rec.texts[c.name] = texts{}
			}
			rec.texts[c.name][c.language] = text
			rec.where[c.name] = c.index
		default:
			rec.cells[c.name] = text
			rec.where[c.name] = c.index
		}
	}
	return rec
}
