package projection

import (
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/syncer"
)

// attachments names what an interview lists, each content once, in its order. A name that cannot be one is left out.
func attachments(iv *surveyv1.Interview) []*servicev1.BlobRef {
	if len(iv.GetAttachments()) == 0 {
		return nil
	}
	var refs []*servicev1.BlobRef
	met := map[syncer.BlobID]bool{}
	for _, a := range iv.GetAttachments() {
		ref := &servicev1.BlobRef{Sha256: a.GetSha256(), Size: a.Size, MediaType: a.MediaType}
		id, _, err := syncer.ParseBlobRef(ref)
		if err != nil || met[id] {
			continue
		}
		met[id] = true
		refs = append(refs, ref)
	}
	return refs
}
