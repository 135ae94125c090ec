package storage

import (
	"slices"
	"testing"
)

func TestMetadataOfACopyIsStoredAsItsSources(t *testing.T) {
	t.Parallel()
	for answered, want := range map[string]string{
		"":                            "",
		"plain":                       "plain",
		"=?UTF-8?q?=C3=BC=C3=B1?=":    "üñ",
		"=?UTF-8?q?=FC?=":             "\xfc",
		"=?UTF-8?B?w7w=?=":            "=?UTF-8?B?w7w=?=", // not MinIO's form: the client's own
		"=?utf-8?q?=C3=BC?=":          "=?utf-8?q?=C3=BC?=",
		"=?UTF-8?q?=C3=BC?= and more": "=?UTF-8?q?=C3=BC?= and more",
		"=?UTF-8?q?a=0D=0AX:_b?=":     "=?UTF-8?q?a=0D=0AX:_b?=",
		"=?UTF-8?q?=00=C3=BC?=":       "=?UTF-8?q?=00=C3=BC?=",
		"=?UTF-8?q?_=C3=BC?=":         "=?UTF-8?q?_=C3=BC?=",
		"=?ISO-8859-1?q?=FC?=":        "=?ISO-8859-1?q?=FC?=",
		"=?UTF-8?q?broken":            "=?UTF-8?q?broken",
	} {
		if got := AsStored([]string{answered}); !slices.Equal(got, []string{want}) {
			t.Errorf("%q: %q, want %q", answered, got, want)
		}
	}
}
