// Package gpkg writes OGC GeoPackages (version 1.3): points, lines and areas with their answers, which QGIS, ArcGIS, R (sf)
// and Python (geopandas) open, with labels of variables and of codes by the Schema extension. It is for exports, depends on
// the standard library alone, and can be used without the rest of Hearth. It does not read files, keeps no spatial
// index, and knows one coordinate system, WGS 84 (EPSG 4326).
//
// # Use
//
// [NewWriter] writes to a file that can seek, and takes the features of all layers in any order. Pages are written as they
// fill up, so that memory is bounded by the number of layers. The first page, the header, is written last, by
// [Writer.Close]: until then no program takes the file for a database. The same layers and features give the same bytes.
//
// What the format cannot hold is refused before the first byte; a feature it cannot hold is refused whole, nothing of it is
// written, and the next one may follow. Errors name the layer and the column, never the value, which is somebody's answer.
//
//   - Layers and columns have names of 1 to 63 letters, digits and _, that differ in more than case. fid and geom are taken.
//   - A layer has at most 1,998 columns: SQLite, as it is usually built, opens tables of up to 2,000.
//   - Longitudes are from -180 to 180, latitudes from -90 to 90, lines have two positions or more, areas four or more in their
//     ring, of which the last is the first.
//   - Text must be UTF-8 without zero bytes, of up to 1,000,000,000 bytes. Numbers must be finite.
//
// # The format
//
// A GeoPackage is an SQLite database (sqlite.org/fileformat2.html) with the application id GPKG. This package writes one
// page of 4,096 bytes after the other: leaves of tables as they fill up, texts that are too long for a page behind them,
// inner pages when there are enough children, indexes and the schema at the end. Its tables: gpkg_spatial_ref_sys,
// gpkg_contents (a row for each layer, with its bounds), gpkg_geometry_columns, gpkg_extensions, gpkg_data_columns (labels),
// gpkg_data_column_constraints (codes and their labels), and one table for each layer: fid, geom, and its columns. A geometry
// is GP, 0, 1 (little-endian, no envelope), 4326 in four bytes, and well-known binary.
package gpkg
