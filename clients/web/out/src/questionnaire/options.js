// The options of hearth/form/v1, as protobuf-es reads them from a descriptor set. Not generated: the descriptors that come with
// every questionnaire say how to read them, and these types say what is there.
/** Severity of a check. */
export var Severity;
(function (Severity) {
    Severity[Severity["Unspecified"] = 0] = "Unspecified";
    Severity[Severity["Soft"] = 1] = "Soft";
    Severity[Severity["Hard"] = 2] = "Hard";
})(Severity || (Severity = {}));
/** What an answer written as text holds. */
export var Format;
(function (Format) {
    Format[Format["Unspecified"] = 0] = "Unspecified";
    Format[Format["Date"] = 1] = "Date";
    Format[Format["Time"] = 2] = "Time";
    Format[Format["DateTime"] = 3] = "DateTime";
    Format[Format["GeoTrace"] = 4] = "GeoTrace";
    Format[Format["GeoShape"] = 5] = "GeoShape";
    Format[Format["Barcode"] = 6] = "Barcode";
    Format[Format["Phone"] = 7] = "Phone";
    Format[Format["ResidentId"] = 8] = "ResidentId";
    Format[Format["Photo"] = 9] = "Photo";
    Format[Format["Audio"] = 10] = "Audio";
    Format[Format["Video"] = 11] = "Video";
    Format[Format["File"] = 12] = "File";
    Format[Format["Rank"] = 13] = "Rank";
})(Format || (Format = {}));
/** Why a question has no answer. */
export var Missing;
(function (Missing) {
    Missing[Missing["Unspecified"] = 0] = "Unspecified";
    Missing[Missing["Refused"] = 1] = "Refused";
    Missing[Missing["DontKnow"] = 2] = "DontKnow";
    Missing[Missing["NotApplicable"] = 3] = "NotApplicable";
    Missing[Missing["NotAsked"] = 4] = "NotAsked";
})(Missing || (Missing = {}));
