// Package xlsx writes Excel workbooks (.xlsx) of many long tables at a time: the rows of all sheets may come in any order, and
// of each no more than some 400 KiB is in memory. It is for exports and can be used without the rest of Hearth. It knows text, numbers, a bold first row that stays in view and filters the others, and nothing else: no formulas, so
// that no text becomes one, no dates, one width for all columns.
//
// # Use
//
// [NewBook] takes a temporary file for the packed sheets, [Book.Sheet] begins a sheet, [Sheet.Row] writes its rows, and
// [Book.WriteTo] puts the workbook together. The same rows give the same bytes, but for
// releases of the packing library that pack otherwise.
//
// A row that Excel cannot hold is refused whole. Errors name the sheet and the column, never the value.
//
//   - A sheet has 1,048,576 rows of 16,384 columns, and a name of 1 to 31 characters without [ ] : * ? / \.
//   - A cell holds 32,767 characters, counted as Excel counts them, in UTF-16.
//   - Characters that XML cannot hold are written as _x0000_, the way Excel does; what is no UTF-8 becomes U+FFFD.
//   - NaN and infinities are refused. Excel keeps 15 digits of a number.
//
// # The format
//
// An Office Open XML workbook (ECMA-376) is a zip archive: [Content_Types].xml, _rels/.rels, docProps/core.xml,
// xl/workbook.xml with the names of the sheets, xl/_rels/workbook.xml.rels with their files, xl/styles.xml with two styles,
// and xl/worksheets/sheet1.xml and so on, with texts in the cells themselves.
package xlsx
