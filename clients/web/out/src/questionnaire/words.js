// What the rules that every question has say, with the words of evaluate.go.
/** The names of the rules that every question has. */
export const rule = {
    required: "required",
    notRelevant: "answered_but_not_relevant",
    unknownValue: "unknown_value",
    notOffered: "not_offered",
    format: "format",
    expressionFailed: "expression_failed",
    calculatedOtherwise: "calculated_otherwise",
    rowCount: "row_count",
    missingReason: "missing_reason_not_accepted",
    missingQuestion: "missing_reason_for_unknown_question",
    answeredMissing: "answered_and_missing",
    tooManyFlags: "too_many_flags",
};
const text = (en, zh) => ({ en, zh });
/** Their words. */
export const words = {
    required: text("The question has neither an answer nor a reason for its absence.", "该题没有答案，也没有注明缺失原因。"),
    notRelevant: text("The question was answered, though by the other answers it is not to be asked.", "根据其他答案，该题不应询问，但填写了答案。"),
    unknownValue: text("The answer is none of those that the question offers; it may come from a newer questionnaire.", "答案不在可选范围之内，可能来自更新版本的问卷。"),
    notOffered: text("The answer is not among those that the other answers leave to choose from.", "根据其他答案，该选项不在可选范围之内。"),
    format: text("The answer is not written in the form asked for.", "答案未按要求的格式填写。"),
    expressionFailed: text("A rule of the question could not be evaluated with these answers.", "该题的规则无法根据现有答案进行判断。"),
    calculatedOtherwise: text("The value is not the one that is calculated from the other answers.", "该值与根据其他答案计算的结果不一致。"),
    rowCount: text("The list has another number of rows than the other answers say.", "名册的行数与其他答案不一致。"),
    missingReason: text("The reason for the missing answer is not one that the question accepts.", "该题不接受所填的缺失原因。"),
    missingQuestion: text("A reason for a missing answer is given for a question that does not exist here.", "缺失原因所指的题目不存在。"),
    answeredMissing: text("The question has both an answer and a reason for its absence.", "该题既有答案，又注明了缺失原因。"),
    tooManyFlags: text("The interview has more flags than are kept; the rest were left out.", "问题过多，其余未予列出。"),
};
