package proxycmd

import (
	"encoding/json"
	"reflect"
	"testing"
)

// What is imported is what was exported, and all of it.
func FuzzRules(f *testing.F) {
	f.Add([]byte(`{"version":1,"rules":[{"bucket":"b","algorithm":"AES256"}]}`))
	f.Add([]byte(`{"version":1,"rules":[]}{"version":1,"rules":[{"bucket":"b","algorithm":"AES256"}]}`))
	f.Add([]byte(`{"version":2}`))
	f.Add([]byte(`{"version":1,"rules":[],"more":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		rules, err := parseRules(data)
		if err != nil {
			if rules != nil {
				t.Fatal(rules, err)
			}
			return
		}
		if !json.Valid(data) {
			t.Fatalf("%q is no document, and has rules", data)
		}
		text, err := json.Marshal(ruleFile{Version: 1, Rules: rules})
		if err != nil {
			t.Fatal(err)
		}
		if again, err := parseRules(text); err != nil || len(again) != len(rules) || len(rules) > 0 && !reflect.DeepEqual(again, rules) {
			t.Fatalf("%q, then %q: %v", data, text, err)
		}
	})
}
