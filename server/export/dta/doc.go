// Package dta writes Stata data files (.dta, format 118; 119 above 32,767 variables), row by row, with all that Stata
// can keep of a questionnaire: labels of variables and values in several languages, the reasons for missing answers as
// extended missing values, long text, notes, dates and the sort order. It is for exports, depends on the standard
// library alone, and can be used without the rest of Hearth. It does not read files, does not shorten names or make
// them unique, and does not guess types.
//
// # Use
//
// [NewWriter] writes to a file that can seek; the number of rows need not be known. Its first bytes, the header, are
// written last, by [Writer.Close]: until then no program takes the file for a Stata file. [NewStreamWriter] writes to
// anything, a pipe or a zip archive; it has to be told the [Size] first, which a [Counter] finds in a pass of its own
// over the same rows. Both give the same bytes for the same input.
//
// A schema the format cannot hold is refused before the first byte is written. A row it cannot hold is refused whole:
// nothing of it is written, and the next one may follow. A [Counter] refuses the same rows, so that an export in two
// passes knows of every such error before its first byte. Errors name the variable and the row, never the value, which
// is somebody's answer.
//
// Only the bytes of the rows in flight are kept in memory, and those of long strings, which follow all rows in the file:
// [Options].Spill names a temporary file for them.
//
// # What is done with what does not fit
//
//   - Names must be 1 to 32 letters, digits and _, not start with a digit, not be a word of Stata's language, and differ.
//     Otherwise: an error.
//   - Labels of the dataset and of variables hold 80 characters. A longer one is cut to 79 and …, its full text becomes a
//     note of the dataset or the variable, and [Writer.Cuts] tells of it.
//   - Value labels hold 32,000 bytes, notes and characteristics 67,783: longer ones are an error.
//   - Text must be UTF-8 without zero bytes; a string variable holds 1 to 2,045 bytes, as its Width says, and a long
//     string (strL) 2,000,000,000 less one. Otherwise: an error, nothing is cut.
//   - Numbers must fit their type: byte -127 to 100, int -32,767 to 32,740, long -2,147,483,647 to 2,147,483,620, double up
//     to 8.988e307; the numbers above are the missing values. NaN and infinities are an error: say [Missing].
//   - Dates must lie in the years 100 to 9999, which are all that Stata knows. Datetimes are UTC and cut to milliseconds.
//   - Files of more than 32,767 variables, format 119, open in Stata/MP alone, and haven reads their long strings as empty:
//     better split the table.
//   - Strings have no extended missing values in Stata. A reason given for one is an error: keep it in a variable of its own.
//
// # The format
//
// As published in Stata's "help dta" and "help dta_119". All integers are little-endian (LSF), all text is UTF-8. A file
// is a run of sections without anything between them:
//
//	<stata_dta><header><release>118</release><byteorder>LSF</byteorder><K>variables, 2 bytes; 4 in 119</K>
//	<N>rows, 8 bytes</N><label>length, 2 bytes, and the label</label><timestamp>0, or 17 and "02 Jan 2006 15:04"</timestamp>
//	</header>
//	<map>14 offsets of 8 bytes: of <stata_dta>, <map>, and of each section below, of </stata_dta>, and of the end</map>
//	<variable_types>2 bytes each: 1 to 2045 str#, 32768 strL, 65526 double, 65528 long, 65529 int, 65530 byte</variable_types>
//	<varnames>129 bytes each, ended by a zero byte, as all text of a fixed length below</varnames>
//	<sortlist>numbers of variables from 1, ended by 0, K+1 in all, 2 bytes each; 4 in 119</sortlist>
//	<formats>57 bytes each</formats>
//	<value_label_names>129 bytes each: which set of value labels a variable has</value_label_names>
//	<variable_labels>321 bytes each</variable_labels>
//	<characteristics><ch>length, 4 bytes; variable or _dta, 129; name, 129; text and a zero byte</ch>...</characteristics>
//	<data>the rows: numbers as they are, str# filled with zero bytes, strL as the variable (2 bytes; 3 in 119) and the row
//	(6; 5 in 119) where its text is defined, 0 for the empty text</data>
//	<strls>GSO, variable (4), row (8), 130 for text (1), length with a zero byte (4), the text and a zero byte ...</strls>
//	<value_labels><lbl>length of what follows the padding (4), name (129), padding (3), entries n (4), length of the text
//	(4), n offsets into the text (4 each), n values in ascending order (4 each), the texts, each with a zero byte</lbl>...
//	</value_labels></stata_dta>
//
// The 27 missing values, . and .a to .z, are 101 to 127 in a byte, 32,741 to 32,767 in an int, 2,147,483,621 to
// 2,147,483,647 in a long and in a set of value labels, and 0x7fe0000000000000 plus 0 to 26 times 2^40 in a double. Dates are
// days, datetimes milliseconds, since the start of 1960.
//
// Notes are the characteristics note1, note2 ... with their number in note0. Label languages follow "label language":
// _dta[_lang_c] is the language in use, _dta[_lang_list] all of them, and for each other language L the characteristics
// _lang_v_L hold the label of the dataset or variable and _lang_l_L the name of the variable's set of value labels,
// here the name of the first language's set, _ and L.
package dta
