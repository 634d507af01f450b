package xform

import (
	"encoding/json"
	"strings"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
)

func kept(o *formv1.Question, header string) string { return o.GetFormColumns()[header] }

// setting is a setting of the XLSForm.
func (f *writer) setting(name string) string {
	for header, v := range f.module.GetFormColumns() {
		if strings.EqualFold(strings.ReplaceAll(strings.TrimSpace(header), " ", "_"), name) {
			return v
		}
	}
	return ""
}

// preloads are the types of XLSForms whose answer the client knows: the kind and the parameter of the preload.
var preloads = map[string][2]string{
	"start": {"timestamp", "start"}, "end": {"timestamp", "end"}, "today": {"date", "today"}, "deviceid": {"property", "deviceid"},
	"username": {"property", "username"}, "email": {"property", "email"}, "phonenumber": {"property", "phonenumber"},
	"simserial": {"property", "simserial"}, "subscriberid": {"property", "subscriberid"}, "start time": {"timestamp", "start"},
	"end time": {"timestamp", "end"}, "starttime": {"timestamp", "start"}, "endtime": {"timestamp", "end"}, "imei": {"property", "deviceid"},
	"device id": {"property", "deviceid"}, "device_id": {"property", "deviceid"}, "phone number": {"property", "phonenumber"}, "get today": {"date", "today"},
}

// hidden writes what is not asked, and tells whether the question is so.
func (f *writer) hidden(n *Node, data *element) bool {
	o := n.Options
	word := strings.ToLower(strings.TrimSpace(kept(o, "type")))
	b := el("bind", "nodeset", n.Path, "type", n.Type)
	switch {
	case word == "audit":
		f.audited = true
		f.line(n, "", nil)
		return true
	case preloads[word] != [2]string{}:
		b.attr("jr:preload", preloads[word][0])
		b.attr("jr:preloadParams", preloads[word][1])
	case word == "start-geopoint":
		f.actions = append(f.actions, el("odk:setgeopoint", "ref", n.Path, "event", "odk-instance-first-load"))
	case word == "background-audio":
		f.actions = append(f.actions, el("odk:recordaudio", "ref", n.Path, "event", "odk-instance-load"))
	case calculated(o) && (word == "" || strings.HasPrefix(word, "calculat")):
		b.attr("relevant", f.relevant(n))
		if kept(o, "trigger") == "" {
			text, err := f.calculate(n)
			if err != nil {
				f.warn(n, "calculate", err)
			}
			b.attr("calculate", text)
		}
	case o.GetSystem() && !f.tree.xls:
		b.attr("calculate", systemCalculation(n.Field, n.Parent.Kind == Repeat))
		b.attr("readonly", "true()")
	case o.GetSystem():
	default:
		return false
	}
	place := el(n.Name)
	if v := kept(o, "default"); v != "" && !strings.ContainsAny(v, "$(") {
		place.text = v
	}
	data.add(place)
	f.binds = append(f.binds, b)
	f.line(n, "", b).worded()
	return true
}

// calculated tells whether a question's value is calculated, if only by an expression that could not be translated.
func calculated(o *formv1.Question) bool {
	return o.GetCalculate() != "" || kept(o, "calculation") != "" && o.GetSystem() || strings.HasPrefix(strings.ToLower(kept(o, "type")), "calculat")
}

// findTriggers finds the questions that are calculated when another one is answered.
func (f *writer) findTriggers(n *Node) {
	for _, c := range n.Nodes {
		for _, m := range dollar.FindAllStringSubmatch(kept(c.Options, "trigger"), -1) {
			if t, err := f.find(m[1], c); err == nil {
				f.triggers[t] = append(f.triggers[t], c)
			} else {
				f.warn(c, "trigger", err)
			}
		}
		f.findTriggers(c)
	}
}

// fileOf is the file of a question that chooses from one.
func fileOf(o *formv1.Question) (string, bool) {
	fields := strings.Fields(kept(o, "type"))
	if len(fields) < 2 {
		return "", false
	}
	switch strings.ToLower(fields[0]) {
	case "select_one_from_file", "select_multiple_from_file":
		return fields[1], true
	}
	return "", false
}

// itemsetOfFile is where the choices of a file come from.
func (f *writer) itemsetOfFile(n *Node, file string, params map[string]string) *element {
	value, label := firstOf(params["value"], "name"), firstOf(params["label"], "label")
	set := "instance('" + f.external(file) + "')/root/item" + f.filter(n)
	return el("itemset", "nodeset", set).add(el("value", "ref", value), el("label", "ref", label))
}

// itemsetOfRows is where choices come from that are the answers to a question in each row of a repeat.
func (f *writer) itemsetOfRows(n *Node) *element {
	m := dollar.FindStringSubmatch(kept(n.Options, "type"))
	if m == nil {
		return el("itemset")
	}
	of, err := f.find(m[1], n)
	if err != nil || of.Parent == nil {
		f.warn(n, "the choices", &inexpressible{"there is no question " + m[1]})
		return el("itemset")
	}
	row := of
	for row.Kind != Repeat && row.Parent != nil {
		row = row.Parent
	}
	x := f.tree.translator(n, n.Parent)
	name := down(row, of)
	return el("itemset", "nodeset", x.fromQuestion(row, false, true)+"["+name+" != '']").add(el("value", "ref", name), el("label", "ref", name))
}

// external declares a file of choices or of other rows, and gives the id of its instance.
func (f *writer) external(file string) string {
	id, ending := file, ""
	if i := strings.LastIndexByte(file, '.'); i > 0 {
		id, ending = file[:i], strings.ToLower(file[i+1:])
	}
	if f.declared[id] {
		return id
	}
	f.declared[id] = true
	kind := "file-csv"
	if ending == "xml" || ending == "geojson" {
		kind = "file"
	}
	if ending == "" {
		file += ".csv"
	}
	f.instances = append(f.instances, el("instance", "id", id, "src", "jr://"+kind+"/"+file))
	return id
}

// externalFiles declares the files that rows of the XLSForm name, and those that pulldata reads.
func (f *writer) externalFiles() {
	var rows []struct {
		Cells map[string]string `json:"cells"`
	}
	if json.Unmarshal([]byte(f.module.GetFormColumns()[KeyRows]), &rows) == nil {
		for _, r := range rows {
			ending, ok := strings.CutSuffix(strings.ToLower(r.Cells["type"]), "-external")
			if ok && r.Cells["name"] != "" {
				f.external(r.Cells["name"] + "." + ending)
			}
		}
	}
	for _, b := range f.binds {
		for _, a := range b.attrs {
			for rest := a[1]; ; {
				i := strings.Index(rest, "pulldata(")
				if i < 0 {
					break
				}
				rest = strings.TrimLeft(rest[i+len("pulldata("):], " ")
				if len(rest) > 1 && (rest[0] == '\'' || rest[0] == '"') {
					if end := strings.IndexByte(rest[1:], rest[0]); end > 0 {
						f.external(rest[1:end+1] + ".csv")
					}
				}
			}
		}
	}
}

// submission says where answers are sent and how they are sealed, where the XLSForm did.
func (f *writer) submission(model *element) {
	s := el("submission")
	s.attr("action", f.setting("submission_url"))
	s.attr("base64RsaPublicKey", f.setting("public_key"))
	s.attr("orx:auto-send", f.setting("auto_send"))
	s.attr("orx:auto-delete", f.setting("auto_delete"))
	if len(s.attrs) > 0 {
		s.attr("method", "post")
		model.add(s)
	}
}
