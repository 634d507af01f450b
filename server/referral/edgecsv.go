package referral

import (
	"cmp"
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// edgeHeader names the columns of the table of edges; Gephi reads Source and Target.
var edgeHeader = []string{
	"referral_id", "source", "target", "source_key", "target_key", "state", "primary", "mode", "relation", "made_time",
}

// WriteEdgeCSV writes one row per told referral, in UTF-8 by RFC 4180. An end that is not known is empty. It holds ids and
// interview keys, never names.
func WriteEdgeCSV(w io.Writer, g *servicev1.ReferralGraph) error {
	keys := make(map[string]string, len(g.GetNodes()))
	for _, n := range g.GetNodes() {
		keys[n.GetPersonId()] = n.GetInterviewKey()
	}
	c := csv.NewWriter(w)
	c.UseCRLF = true
	rows := append(make([][]string, 0, len(g.GetEdges())+1), edgeHeader)
	for _, e := range g.GetEdges() {
		if e == nil {
			continue
		}
		row := []string{
			e.GetReferralId(), e.GetFromId(), e.GetToId(), keys[e.GetFromId()], keys[e.GetToId()], StateName(e.GetState()),
			strconv.FormatBool(e.GetPrimary()), e.GetMode(), e.GetRelation(), timeText(e.MadeTimeMs),
		}
		for i := range row {
			row[i] = strings.ToValidUTF8(row[i], "\ufffd")
		}
		rows = append(rows, row)
	}
	if err := c.WriteAll(rows); err != nil {
		return fmt.Errorf("write the edges as a table: %w", err)
	}
	return nil
}

// label is what a node is called: its name if names were given, else the interview key, else a short form of its id.
func label(n *servicev1.ReferralNode, names map[string]string) string {
	if name := names[n.GetPersonId()]; name != "" {
		return name
	}
	if n.GetKind() == KindSite {
		return cmp.Or(n.GetSiteId(), n.GetPersonId())
	}
	if n.GetInterviewKey() != "" {
		return n.GetInterviewKey()
	}
	id := n.GetPersonId()
	if len(id) == 36 && id[8] == '-' && id[13] == '-' { // a UUID
		return id[:8]
	}
	return id
}

// printable leaves out of a text what XML cannot hold.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\r':
			return ' '
		case r < 0x20 || r == 0xfffe || r == 0xffff:
			return '\ufffd'
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}

// optional is the text of a value, empty if it is not set.
func optional[T bool | int32](v *T) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(*v)
}

func timeText(ms *int64) string {
	if ms == nil {
		return ""
	}
	return time.UnixMilli(*ms).UTC().Format(time.RFC3339)
}
