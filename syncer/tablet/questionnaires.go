package tablet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// Questionnaire is a version of a questionnaire as it came down.
type Questionnaire struct {
	Version *servicev1.QuestionnaireVersion
	// Packed is its schema as it travelled, where it was published at run time and is the newest version; it may be damaged.
	Packed []byte
	pieces [][]byte
}

// Files is the schema, a google.protobuf.FileDescriptorSet without the files that every program of Hearth has. It fails with
// fault.QuestionnaireDamaged where what is held is not what was published.
func (q Questionnaire) Files() ([]byte, error) {
	return syncer.JoinQuestionnaire(q.pieces, q.Version.GetFilesSha256())
}

// Questionnaires lists what headquarters has sent down of questionnaires, by name and version.
func (s *Store) Questionnaires(ctx context.Context) (_ []Questionnaire, err error) {
	rows, err := s.db.QueryContext(ctx, "SELECT key, body FROM down_row WHERE kind = ?", int64(servicev1.BucketKind_BUCKET_KIND_QUESTIONNAIRES))
	if err != nil {
		return nil, dbFault(err, "read the questionnaires of %s", s.path)
	}
	defer func() {
		if e := rows.Close(); e != nil {
			err = errors.Join(err, dbFault(e, "read the questionnaires of %s", s.path))
		}
	}()
	var out []Questionnaire
	pieces := map[string][]byte{}
	for rows.Next() {
		var key string
		var body []byte
		if err := rows.Scan(&key, &body); err != nil {
			return nil, dbFault(err, "read the questionnaires of %s", s.path)
		}
		if strings.Count(key, "/") > 1 {
			pieces[key] = body
			continue
		}
		v := &servicev1.QuestionnaireVersion{}
		if proto.Unmarshal(body, v) == nil && key == versionKey(v) { // a row that changed on the disk comes anew
			out = append(out, Questionnaire{Version: v})
		}
	}
	if err := rows.Err(); err != nil {
		return nil, dbFault(err, "read the questionnaires of %s", s.path)
	}
	for i := range out {
		q := &out[i]
		for n := range min(q.Version.GetPieces(), maxPieces) {
			piece := pieces[versionKey(q.Version)+"/"+strconv.Itoa(int(n))]
			q.pieces, q.Packed = append(q.pieces, piece), append(q.Packed, piece...)
		}
	}
	slices.SortFunc(out, func(a, b Questionnaire) int {
		return cmp.Or(strings.Compare(a.Version.GetQuestionnaire(), b.Version.GetQuestionnaire()), cmp.Compare(a.Version.GetVersion(), b.Version.GetVersion()))
	})
	return out, nil
}

// maxPieces is more than the largest questionnaire has.
const maxPieces = 2 * syncer.MaxQuestionnairePacked / syncer.QuestionnairePiece

// versionKey is the key of a version's row.
func versionKey(v *servicev1.QuestionnaireVersion) string {
	return fmt.Sprintf("%s/%d", v.GetQuestionnaire(), v.GetVersion())
}
