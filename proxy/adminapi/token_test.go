package adminapi

import (
	"encoding/base64"
	"strings"
	"testing"
)

func FuzzParseToken(f *testing.F) {
	f.Add(signToken(&scrapeClaims{"prometheus", "root", 1}, "secret"))
	f.Add("a.b.c")
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		claims, signed, mac, err := parseToken(token)
		if err != nil {
			return
		}
		if !strings.HasPrefix(token, signed+".") || claims == nil {
			t.Errorf("%q covers %q", token, signed)
		}
		if again := signed + "." + base64.RawURLEncoding.EncodeToString(mac); again != token {
			t.Errorf("%q has a second form %q", token, again)
		}
	})
}
