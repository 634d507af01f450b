package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/alecthomas/kong"
)

// loadTOML reads defaults for flags: `data = "hq"` at the top holds for every verb, in a table such as [serve] for one.
// Flags and environment variables win over the file.
func loadTOML(r io.Reader) (kong.Resolver, error) {
	values := map[string]any{}
	if _, err := toml.NewDecoder(r).Decode(&values); err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	return kong.ResolverFunc(func(_ *kong.Context, parent *kong.Path, flag *kong.Flag) (any, error) {
		if parent != nil && parent.Command != nil {
			if table, ok := values[parent.Command.Name].(map[string]any); ok {
				if v, ok := table[flag.Name]; ok {
					return v, nil
				}
			}
		}
		v, ok := values[flag.Name]
		if _, table := v.(map[string]any); !ok || table {
			return nil, nil
		}
		if list, ok := v.([]any); ok {
			parts := make([]string, len(list))
			for i := range list {
				parts[i] = fmt.Sprint(list[i])
			}
			return strings.Join(parts, ","), nil
		}
		return v, nil
	}), nil
}
