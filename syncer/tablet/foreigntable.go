package tablet

// Two programs read a foreign file's rows: SQLite, and the carver, which picks them out of pages that SQLite cannot or
// will not read. Both give rows of these tables, with the same columns in the same order.

// row is the values of one row: first its number, nil where that is not known, then its columns. A value is an int64, a
// string, a []byte or nil.
type row []any

func (r row) number(i int) int64 {
	if i >= len(r) {
		return 0
	}
	n, _ := r[i].(int64)
	return n
}

func (r row) bytes(i int) []byte {
	if i >= len(r) {
		return nil
	}
	b, _ := r[i].([]byte)
	return b
}

func (r row) text(i int) string {
	if i >= len(r) {
		return ""
	}
	s, _ := r[i].(string)
	return s
}

// absent is true of a value that is NULL.
func (r row) absent(i int) bool { return i >= len(r) || r[i] == nil }

// columnKind is what a column may hold.
type columnKind byte

const (
	intColumn columnKind = iota
	textColumn
	blobColumn
)

// foreignColumn is a column as it is stored.
type foreignColumn struct {
	name string
	kind columnKind
	// size is how many bytes a blob must have; 0: any number.
	size int
	// null is true where it may be NULL.
	null bool
}

// foreignTable is a table that is read.
type foreignTable struct {
	id   byte
	name string
	// numbered is true where the first column is the row's number, which a row does not hold itself, and rows are numbered
	// from 1 without gaps.
	numbered bool
	// weak is true where other bytes look like such a row easily, so that the carver asks for more.
	weak    bool
	columns []foreignColumn
}

// The tables by their number in frames.
const (
	metaTable = iota + 1
	recordTable
	entryTable
	receiptTable
	answerTable
	draftTable
	blobTable
	pieceTable
	useTable
)

// The positions of columns in a row of each table.
const (
	metaDevice, metaSeed, metaPublic, metaName, metaEnumerator, metaStudy, metaServerKey = 1, 2, 3, 4, 5, 6, 8

	recordID, recordDigest, recordKind, recordSubject, recordParents, recordPart, recordBody = 1, 2, 3, 4, 5, 6, 12

	entryEpoch, entrySeq, entryDigest, entryChain                                        = 1, 2, 3, 4
	receiptEpoch, receiptSeq, receiptChain, receiptTime, receiptKeeper, receiptSignature = 1, 2, 3, 4, 5, 6
	answerEpoch, answerSeq, answerOutcome                                                = 1, 2, 3
	draftInterview, draftBody, draftDigest, draftSaved                                   = 1, 2, 3, 4
	blobHash, blobSize, blobMedia                                                        = 1, 2, 3
	pieceHash, pieceStart, pieceBytes                                                    = 1, 2, 3
	useDigest, useHash                                                                   = 1, 2
)

// foreignTables are the tables that the import reads, in the order in which it reads them.
func foreignTables() []foreignTable {
	blob := func(name string, size int) foreignColumn {
		return foreignColumn{name: name, kind: blobColumn, size: size}
	}
	null := func(c foreignColumn) foreignColumn { c.null = true; return c }
	num := func(name string) foreignColumn { return foreignColumn{name: name, kind: intColumn} }
	text := func(name string) foreignColumn { return foreignColumn{name: name, kind: textColumn} }
	return []foreignTable{
		{id: metaTable, name: "meta", numbered: true, columns: []foreignColumn{blob("device", 16), blob("seed", 32), blob("public_key", 32),
			text("name"), text("enumerator"), text("study"), blob("epoch", 16), null(blob("server_key", 32)), null(blob("server_epoch", 16)),
			null(blob("cursor", 0)), null(num("last_sync_ms"))}},
		{id: recordTable, name: "record", numbered: true, columns: []foreignColumn{blob("id", 16), blob("digest", 32), num("kind"), text("subject"),
			blob("parents", 0), num("part"), text("questionnaire"), num("status"), blob("payload_sha256", 32), num("size"), num("written_ms"),
			null(blob("body", 0))}},
		{id: entryTable, name: "lane_entry", numbered: true, columns: []foreignColumn{blob("epoch", 16), num("seq"), blob("digest", 32), blob("chain", 32)}},
		{id: receiptTable, name: "receipt", numbered: true, columns: []foreignColumn{blob("epoch", 16), num("seq"), blob("chain", 32), num("time_ms"),
			blob("keeper", 32), blob("signature", 64)}},
		{id: answerTable, name: "answer", numbered: true, columns: []foreignColumn{blob("epoch", 16), num("seq"), num("outcome"), text("reason"),
			text("message"), num("time_ms")}},
		{id: draftTable, name: "draft", weak: true, columns: []foreignColumn{text("interview_id"), blob("body", 0), blob("digest", 32), num("saved_ms")}},
		{id: blobTable, name: "blob", numbered: true, weak: true, columns: []foreignColumn{blob("sha256", 32), num("size"), text("media_type"), num("added_ms")}},
		{id: pieceTable, name: "blob_piece", numbered: true, weak: true, columns: []foreignColumn{blob("sha256", 32), num("start"), null(blob("bytes", 0))}},
		{id: useTable, name: "blob_use", numbered: true, weak: true, columns: []foreignColumn{blob("digest", 32), blob("sha256", 32)}},
	}
}
