package config

import (
	"reflect"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/identity"
)

func TestAccessRules(t *testing.T) {
	t.Parallel()
	c, err := Parse("f.yml", []byte(`
access:
  key_admins: [ops]
  rules:
    - access_keys: [alice, "backup-*"]
      kinds: [user]
      buckets: ["*"]
      keys: ["team-*", bucketseal-default]
      uses: [generate]
    - sources: [web-identity, ldap]
      buckets: [public]
      keys: ["*"]
`), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := identity.Access{KeyAdmins: []string{"ops"}, Rules: []identity.Rule{
		{
			AccessKeys: []string{"alice", "backup-*"}, Kinds: []identity.Kind{identity.User}, Buckets: []string{"*"},
			Keys: []string{"team-*", "bucketseal-default"}, Uses: []identity.Use{identity.Generate},
		},
		{
			Sources: []identity.Source{identity.WebIdentity, identity.LDAP}, Buckets: []string{"public"}, Keys: []string{"*"},
			Uses: []identity.Use{identity.Generate, identity.Decrypt},
		},
	}}
	if !reflect.DeepEqual(c.Access, want) {
		t.Errorf("%+v", c.Access)
	}
}

func TestAccessDefaults(t *testing.T) {
	t.Parallel()
	root := []string{EnvRootUser + "=root-user", EnvRootPassword + "=" + secretText}
	for name, tt := range map[string]struct {
		file  string
		admin []string
		rules bool
	}{
		"nothing said":     {"", []string{"root-user"}, false},
		"administrators":   {"access:\n  key_admins: [ops]\n", []string{"ops"}, false},
		"nobody":           {"access:\n  key_admins: []\n", []string{}, false},
		"no rule at all":   {"access:\n  rules: []\n", []string{"root-user"}, true},
		"an empty section": {"access:\n", []string{"root-user"}, false},
	} {
		c, err := Parse("f.yml", []byte(tt.file), root)
		if err != nil || !reflect.DeepEqual(c.Access.KeyAdmins, tt.admin) || (c.Access.Rules != nil) != tt.rules {
			t.Errorf("%s: %+v, %v", name, c.Access, err)
		}
	}
}

func TestWrongAccessRulesAreRefusedInTheirPlace(t *testing.T) {
	t.Parallel()
	const rest = ", buckets: [\"*\"], keys: [\"*\"]}\n"
	for rule, want := range map[string]string{
		"{buckets: [a], keys: [b]}\n":                       "names nobody",
		"{access_keys: [a], keys: [b]}\n":                   "no buckets",
		"{access_keys: [a], buckets: [b]}\n":                "no keys",
		"{access_keys: [a], uses: []" + rest:                "no uses",
		"{kinds: [robot]" + rest:                            "\"robot\" is none of configured, added, user, service-account, temporary",
		"{sources: [oidc]" + rest:                           "\"oidc\" is none of assume-role, web-identity",
		"{access_keys: [a], uses: [delete]" + rest:          "\"delete\" is none of generate, decrypt",
		"{access_keys: [\"a b\"]" + rest:                    "no pattern of access keys",
		"{access_keys: [\"\"]" + rest:                       "empty",
		"{access_keys: [a], bucket: [x]" + rest:             "unknown setting; a rule has",
		"{access_keys: [a, a]" + rest:                       "listed twice",
		"{access_keys: a" + rest:                            "it must be a list",
		"{access_keys: [a], buckets: [\"$\"], keys: [b]}\n": "no pattern of bucket names",
		"{access_keys: [a], buckets: [b], keys: [\".\"]}\n": "no pattern of names of KMS keys",
		"alice\n": "it must be a section",
	} {
		_, err := Parse("f.yml", []byte("access:\n  rules:\n    - "+rule), nil)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "f.yml:3:") {
			t.Errorf("%q: %v", rule, err)
		}
	}
	if _, err := Parse("f.yml", []byte("access:\n  rule: []\n"), nil); err == nil || !strings.Contains(err.Error(), "do you mean rules?") {
		t.Errorf("a misspelled name: %v", err)
	}
	if _, err := Parse("f.yml", []byte("access:\n  rules: all\n"), nil); err == nil || !strings.Contains(err.Error(), "f.yml:2:10") {
		t.Errorf("no list: %v", err)
	}
}

func TestWhatNeedsARestart(t *testing.T) {
	t.Parallel()
	base := "credentials:\n  - {access_key: alice, secret_key: " + secretText + "}\n"
	parse := func(file string) *Config {
		t.Helper()
		c, err := Parse("f.yml", []byte(file), nil)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for file, want := range map[string]bool{
		base:          false,
		"\n\n" + base: false,
		"credentials:\n  - {access_key: bob, secret_key: " + secretText + "}\naccess: {rules: []}\n": false,
		base + "region: x\n":                true,
		base + "plain_read: [a]\n":          false,
		base + "limits: {rule_lease: 2s}\n": true,
	} {
		restart := false
		for _, change := range Changes(parse(base).Effective(nil), parse(file).Effective(nil)) {
			restart = restart || change.Restart
		}
		if restart != want {
			t.Errorf("%q: %v", file, restart)
		}
	}
}
