package xlsform

// RealForms are the forms of the shared data, for tests from outside.
var RealForms = realForms
