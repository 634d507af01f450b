package export

import (
	"context"
	"iter"
	"strconv"

	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// How far the source is read ahead: pieces of so many interviews, and so many pieces.
const (
	aheadPiece  = 16
	aheadPieces = 2
)

// arrival is an interview that was read ahead, with its answers to a published questionnaire as they were read.
type arrival struct {
	answered *Answered
	other    other
}

// other is the answers of an interview to a published questionnaire; the table is nil where it is published nowhere.
type other struct {
	table *publishedTable
	m     protoreflect.Message
	err   error
}

// read reads them. It may run beside other things: nothing changes by it.
func (p *Plan) read(iv *surveyv1.Interview) other {
	o := iv.GetOther()
	if o == nil {
		return other{}
	}
	q := p.published[protoreflect.FullName(o.GetQuestionnaire())]
	if q == nil {
		return other{}
	}
	m, err := q.read(o.GetAnswers(), iv.GetQuestionnaireVersion())
	return other{q, m, err}
}

// ahead yields the interviews of the source in their order. They are read in a goroutine of its own, which has ended when the
// walk has: what a row is made of comes while the row before is made. A panic of the source is one of the walk.
func (j *job) ahead(ctx context.Context) iter.Seq2[arrival, error] {
	return func(yield func(arrival, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		r := &aheadReader{pieces: make(chan []arrival, aheadPieces)}
		go r.run(ctx, j)
		defer func() {
			cancel()
			for range r.pieces { // until the reader has ended
			}
			if r.panicked != nil {
				panic(r.panicked)
			}
		}()
		for piece := range r.pieces {
			for _, a := range piece {
				if !yield(a, nil) {
					return
				}
			}
		}
		if err := ctx.Err(); err != nil && r.err == nil {
			r.err = err
		}
		if r.err != nil {
			yield(arrival{}, r.err)
		}
	}
}

// aheadReader is the goroutine that reads ahead; what it ends with may be looked at when pieces is closed.
type aheadReader struct {
	pieces   chan []arrival
	err      error
	panicked any
}

func (r *aheadReader) run(ctx context.Context, j *job) {
	defer close(r.pieces)
	defer func() { r.panicked = recover() }()
	var piece []arrival
	for a, err := range j.src.Interviews {
		if err != nil {
			r.err = err
			break
		}
		if piece = append(piece, arrival{a, j.plan.read(a.Interview)}); len(piece) < aheadPiece {
			continue
		}
		select {
		case r.pieces <- piece:
			piece = make([]arrival, 0, aheadPiece)
		case <-ctx.Done():
			return
		}
	}
	if len(piece) > 0 {
		select {
		case r.pieces <- piece:
		case <-ctx.Done():
		}
	}
}

// published emits the rows of an interview's answers to a published questionnaire, below the interview's own row.
func (x *extractor) published(iv *surveyv1.Interview, read other) error {
	o := iv.GetOther()
	switch {
	case o == nil:
		return nil
	case read.table == nil:
		x.unread["have answers to the questionnaire "+strconv.Quote(o.GetQuestionnaire())+", which is not published here: publish it and export again"]++
		return nil
	case read.err != nil && read.m == nil:
		x.unread["have answers to "+o.GetQuestionnaire()+" that cannot be read: hearth check says which"]++
		return nil
	case read.err != nil:
		x.unread["answer an earlier version of "+o.GetQuestionnaire()+" and cannot be brought to the newest in all questions: what its schema says of earlier versions fails on them"]++
	}
	x.version, x.other = iv.GetQuestionnaireVersion(), read.m
	return x.message(read.table.table, read.m, x.rows[x.plan.interview], 1, "", "")
}
