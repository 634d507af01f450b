package storetest

import "testing"

var readTests, deviceTests, projectionTests, modelTests map[string]func(*testing.T, Factory)
