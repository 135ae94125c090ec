package yamlfile_test

import (
	"fmt"

	"github.com/bucketseal/bucketseal/operator/yamlfile"
)

// A reader decides what may stand in a file, and says where something else does.
func ExampleSource_Parse() {
	root, err := yamlfile.NewSource([]byte("address: :8080\nregoin: x\n")).Parse(yamlfile.Plain)
	if err != nil {
		fmt.Println(err)
		return
	}
	known := []string{"address", "region"}
	var problems yamlfile.Problems
	for _, f := range root.Fields[1:] {
		at := yamlfile.Place{Name: "f.yml", Line: f.Key.Line, Column: f.Key.Column}
		problems.Add(at, f.Key.Text, "unknown; do you mean %s?", yamlfile.Nearest(f.Key.Text, known))
	}
	fmt.Println(root.Field("address").Text)
	fmt.Println(problems.Err())
	// Output:
	// :8080
	// f.yml:2:1: regoin: unknown; do you mean region?
}
