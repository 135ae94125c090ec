package check

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// node is a part of values.schema.json.
type node struct {
	Type        any             `json:"type"`
	Description string          `json:"description"`
	Properties  map[string]node `json:"properties"`
	Enum        []string        `json:"enum"`
}

const begin, end = "<!-- values: written from values.schema.json by make chart-docs -->\n", "<!-- /values -->\n"

// The table of values in the chart's README is the schema, with the defaults of
// values.yaml. With WRITE_README the test writes it.
func TestReadmeHasEveryValue(t *testing.T) {
	t.Parallel()
	var schema node
	var values map[string]any
	for name, into := range map[string]any{"values.schema.json": &schema, "values.yaml": &values} {
		data, err := os.ReadFile(filepath.Join(chart, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(data, into); err != nil {
			t.Fatal(err)
		}
	}
	var table strings.Builder
	table.WriteString("| Value | Type | Default | Meaning |\n|---|---|---|---|\n")
	rows(t, &table, "", schema, values)
	file := filepath.Join(chart, "README.md")
	readme, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(readme), begin)
	current, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal("README.md has no place for the values")
	}
	if current == table.String() {
		return
	}
	if os.Getenv("WRITE_README") == "" {
		t.Fatal("README.md does not have the values of values.schema.json: make chart-docs")
	}
	if err := os.WriteFile(file, []byte(before+begin+table.String()+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// rows writes a row for each value, and says which ones values.yaml and the schema do not share.
func rows(t *testing.T, table *strings.Builder, path string, n node, values map[string]any) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(n.Properties)) {
		one, at := n.Properties[name], strings.TrimPrefix(path+"."+name, ".")
		value, ok := values[name]
		if at == "global" {
			continue
		}
		if !ok {
			t.Errorf("values.yaml does not have %s", at)
		}
		if len(one.Properties) > 0 {
			fmt.Fprintf(table, "| `%s` | | | %s: |\n", at, one.Description)
			inner, _ := value.(map[string]any)
			rows(t, table, at, one, inner)
			continue
		}
		shown := "—"
		if v := reflect.ValueOf(value); v.IsValid() && !(v.Kind() != reflect.Float64 && v.Kind() != reflect.Bool && v.Len() == 0) {
			text, err := json.Marshal(value)
			if err != nil {
				t.Fatal(err)
			}
			shown = "`" + strings.Trim(string(text), `"`) + "`"
		}
		meaning := one.Description
		if len(one.Enum) > 0 {
			meaning += " (" + strings.Join(one.Enum, ", ") + ")"
		}
		fmt.Fprintf(table, "| `%s` | %s | %s | %s |\n", at, strings.Trim(strings.ReplaceAll(fmt.Sprint(one.Type), " ", " or "), "[]"), shown, meaning)
	}
	for name := range values {
		if _, ok := n.Properties[name]; !ok {
			t.Errorf("the schema does not have %s.%s", path, name)
		}
	}
}
