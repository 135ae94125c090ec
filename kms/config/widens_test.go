package config

import (
	"testing"

	"github.com/bucketseal/bucketseal/kms/identity"
)

func TestWidensFindsWhatGivesMoreRights(t *testing.T) {
	t.Parallel()
	base := func() *Config {
		return &Config{
			Admin: "admin", TLS: TLS{Auth: true, CA: "ca.pem", Proxy: TLSProxy{Identities: []identity.Identity{"proxy"}, Header: "X-Cert"}},
			Policies: map[string]Policy{
				"app":   {Allow: []string{"/v1/key/generate/*", "/v1/key/decrypt/*"}, Deny: []string{"/v1/key/decrypt/secret*"}, Identities: []identity.Identity{"app", "other"}},
				"proxy": {Allow: []string{"*"}, Bucketseal: true, Identities: []identity.Identity{"seal"}},
			},
			API: map[string]Endpoint{"/v1/ready": {SkipAuth: true}},
		}
	}
	policy := func(name string, change func(*Policy)) func(*Config) {
		return func(c *Config) { p := c.Policies[name]; change(&p); c.Policies[name] = p }
	}
	for name, test := range map[string]struct {
		change func(*Config)
		widens bool
	}{
		"nothing":                 {func(*Config) {}, false},
		"another admin":           {func(c *Config) { c.Admin = "x" }, true},
		"no admin":                {func(c *Config) { c.Admin = "" }, false},
		"auth off":                {func(c *Config) { c.TLS.Auth = false }, true},
		"another authority":       {func(c *Config) { c.TLS.CA = "other.pem" }, true},
		"another proxy":           {func(c *Config) { c.TLS.Proxy.Identities = []identity.Identity{"x"} }, true},
		"another header":          {func(c *Config) { c.TLS.Proxy.Header = "X-Other" }, true},
		"no proxy":                {func(c *Config) { c.TLS.Proxy = TLSProxy{} }, false},
		"an open route":           {func(c *Config) { c.API["/v1/status"] = Endpoint{SkipAuth: true} }, true},
		"a closed route":          {func(c *Config) { c.API = nil }, false},
		"a deny that is cut off":  {policy("app", func(p *Policy) { p.Deny = nil }), true},
		"one deny more":           {policy("app", func(p *Policy) { p.Deny = append(p.Deny, "/v1/x") }), false},
		"one allow more":          {policy("app", func(p *Policy) { p.Allow = append(p.Allow, "/v1/x") }), true},
		"one allow less":          {policy("app", func(p *Policy) { p.Allow = p.Allow[:1] }), false},
		"a proxy that was none":   {policy("app", func(p *Policy) { p.Bucketseal = true }), true},
		"an identity less":        {policy("app", func(p *Policy) { p.Identities = p.Identities[:1] }), false},
		"an identity more":        {policy("app", func(p *Policy) { p.Identities = append(p.Identities, "new") }), true},
		"a policy less":           {func(c *Config) { delete(c.Policies, "app") }, false},
		"the proxies' policy cut": {func(c *Config) { delete(c.Policies, "proxy") }, true},
		"proxies that are none":   {policy("proxy", func(p *Policy) { p.Bucketseal = false }), true},
		"a proxy's allow less":    {policy("proxy", func(p *Policy) { p.Allow = nil }), true},
		"a proxy's deny more":     {policy("proxy", func(p *Policy) { p.Deny = []string{"/v1/key/generate/a"} }), true},
		"a proxy less":            {policy("proxy", func(p *Policy) { p.Identities = nil }), false},
		"policies exchanged":      {func(c *Config) { c.Policies["app"], c.Policies["proxy"] = c.Policies["proxy"], c.Policies["app"] }, false},
		"into a stronger policy":  {policy("proxy", func(p *Policy) { p.Identities = append(p.Identities, "app") }), true},
		"into a policy as strong": {func(c *Config) { c.Policies["more"] = c.Policies["app"]; delete(c.Policies, "app") }, false},
	} {
		next := base()
		test.change(next)
		if got := base().Widens(next); (len(got) > 0) != test.widens {
			t.Errorf("%s: %q", name, got)
		}
	}
}
