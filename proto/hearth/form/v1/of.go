package formv1

import "google.golang.org/protobuf/proto"

// QuestionOf is the option of a field, nil where it has none. It is given the options of the field's descriptor, whether
// of protoreflect or descriptorpb; so are the others here.
func QuestionOf(options proto.Message) *Question {
	o, _ := proto.GetExtension(options, E_Question).(*Question)
	return o
}

// ModuleOf is the option of a message, nil where it has none.
func ModuleOf(options proto.Message) *Module {
	o, _ := proto.GetExtension(options, E_Module).(*Module)
	return o
}

// ChoiceOf is the option of an enum's value, nil where it has none.
func ChoiceOf(options proto.Message) *Choice {
	o, _ := proto.GetExtension(options, E_Choice).(*Choice)
	return o
}

// ListOf is the option of an enum, nil where it has none.
func ListOf(options proto.Message) *ChoiceList {
	o, _ := proto.GetExtension(options, E_List).(*ChoiceList)
	return o
}

// TablesOf are the choice tables of a file.
func TablesOf(options proto.Message) []*ChoiceTable {
	o, _ := proto.GetExtension(options, E_Table).([]*ChoiceTable)
	return o
}
