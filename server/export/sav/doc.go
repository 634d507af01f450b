// Package sav writes SPSS system files (.sav, and .zsav with ZLIB), row by row, with all that SPSS can keep of a
// questionnaire: long names, labels of variables and values, user-missing values, levels of measurement, formats,
// multiple-response sets, documents and attributes, strings of up to 32,767 bytes, and a weight. It is for exports,
// depends on the standard library alone, and can be used without the rest of Hearth. It does not read files, does not
// shorten names or make them unique, and does not guess types.
//
// # Use
//
// [NewWriter] writes to a file that can seek; the number of rows need not be known. Its first bytes, the header, are
// written last, by [Writer.Close]: until then no program takes the file for one of SPSS. [NewStreamWriter] writes a .sav
// to anything, a pipe or a zip archive, and has to be told the number of rows; a .zsav needs a file that can seek. Both
// give the same bytes for the same input; those of a .zsav may differ between releases of Go, whose ZLIB it uses.
//
// A schema the format cannot hold is refused before the first byte is written. A row it cannot hold is refused whole:
// nothing of it is written, and the next one may follow. A [Counter] refuses the same rows and writes nothing, so that
// an export in two passes knows of every such error before its first byte. Errors name the variable and the row, never
// the value, which is somebody's answer. The rows in flight are kept in memory, 64 KiB or one row, with ZLIB 4 MiB.
//
// A reason for a missing answer is a number (or short text) of its own that [Variable].Missing declares: up to three of
// them, or a range with or without one more. -99 to -96 as a range, with value labels, are four
// reasons.
//
// # What is done with what does not fit
//
//   - Names must be 1 to 64 bytes: a letter or @, then letters, digits and . _ $ # @, without . at the end, not a keyword,
//     and differ in more than the case of their letters. Otherwise: an error.
//   - The label of the file holds 64 bytes, of a variable 255, of a value or of a multiple-response set 120. A longer one
//     is cut between characters and ends with …; its full text becomes the attribute FullLabel of the file or the
//     variable, or stands in the variable's attribute FullValueLabels as value=label. [Writer.Cuts] tells of each.
//   - SPSS has labels in one language, the schema's first. Those in a language L become the attributes Label_L and
//     ValueLabels_L (value=label, each), the list of languages the file's attribute Languages.
//   - Attributes and documents have no line breaks inside a value or line: a break becomes a space, or begins a new line of
//     the documents, which are also broken after 80 bytes.
//   - Text must be UTF-8 without zero bytes and fit its variable. Otherwise: an error, nothing is cut. Spaces at the end of
//     a text are lost, as SPSS fills strings with spaces.
//   - NaN, infinities, the lowest of all numbers (which is SPSS's system-missing value) and whole numbers beyond 2^53 are an
//     error. The zero [Value] is the system-missing value, or an empty text.
//   - Dates must lie between 15 October 1582, after which SPSS counts, and the end of 9999. Datetimes are UTC, to
//     the millisecond. A date may also be one of the numbers declared as missing.
//
// Readers differ in places. haven, asked for user-missing values, takes a date that has some for a plain number, so that
// a reason for a missing date belongs into a variable of its own; nor does it know the format YMDHMS, attributes and
// multiple-response sets. PSPP before 2.0 warns of several missing values of a string over 8 bytes, and drops them.
//
// # The format
//
// As PSPP's developers' guide describes it ("System File Format"). Integers are of 4 bytes and little-endian, floats of 8;
// a file is a run of records:
//
//	header   $FL2 or $FL3 (.zsav); product (60 bytes); 2; elements of 8 bytes per row; compression 1 or 2; the weight's first
//	         element, from 1, or 0; rows, or -1 above 2^31-1; bias 100.0; date "02 Jan 06"; time "15:04:05"; label (64); 3 zeros
//	2        a variable: width, 0 for a number; whether it has a label; how many missing values, -2 a range, -3 a range and one
//	         more; formats for print and write (type<<16 | width<<8 | decimals); short name (8); the label's length and the
//	         label, filled to 4 bytes; the missing values. One more such record of width -1 for each further 8 bytes of a string
//	3 and 4  value labels: their number; each as value (8), length (1), label, filled to 8 bytes; then the number of variables
//	         that have them, and their first elements. Not for strings over 8 bytes
//	6        documents: the number of lines, of 80 bytes each
//	7        extensions: subtype, size of an item, number of items, items
//	         3 integer info (UTF-8 is 65001), 4 float info (missing, highest, lowest), 7 multiple-response sets, 11 level, columns and
//	         alignment of each variable, 13 SHORT=long names between tabs, 14 SHORT=width of strings over 255 bytes, 16 rows in
//	         64 bits, 17 attributes of the file, 18 of variables, 20 the encoding, 21 value labels of strings over 8 bytes, 22 their
//	         missing values
//	999      end of the dictionary, and the data
//
// A string over 255 bytes is made of segments, a variable each: ceil(width/252) of them, all of 255 bytes but the last, which
// has width - 252*(segments-1); the text is laid through all 255 bytes of each. Data are elements of 8 bytes, packed: 8 codes of a
// byte each, then the elements that they call for: 1 to 251 the number code-100, 252 the end, 253 an element that
// follows, 254 eight spaces, 255 system-missing, 0 nothing. In a .zsav, that stream is cut every 0x3ff000 bytes, each block packed
// with ZLIB, between a header (its offset, the trailer's offset and length, 8 bytes each) and a trailer (-100, 0, 8 bytes each;
// 0x3ff000 and the number of blocks; per block, offsets unpacked and packed, 8 bytes each, and both lengths).
// Dates are seconds since the start of 14 October 1582.
package sav
