package sts

import (
	"context"
	"encoding/xml"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/route"
	"github.com/bucketseal/bucketseal/proxy/sigv4"
	"github.com/bucketseal/bucketseal/proxy/upstream"
)

// newService is a service in front of a MinIO that cannot be reached.
func newService(t *testing.T) *Service {
	t.Helper()
	up, err := upstream.New(upstream.Options{Endpoint: &url.URL{Scheme: "http", Host: "127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(up.Close)
	identities, err := identity.New(identity.Options{
		Objects: struct{ identity.Objects }{}, Ready: func(context.Context) error { return nil },
		Settings: identity.Settings{Credentials: map[string]string{"app": "app-secret"}, Access: identity.Access{Unrestricted: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := sigv4.New(sigv4.Options{Credentials: identities})
	if err != nil {
		t.Fatal(err)
	}
	in := intake.New(intake.Options{
		Verifier: verifier, Identities: identities, Forwarder: up.Forwarder(), MaxHeader: 1 << 20, Logger: slog.New(slog.DiscardHandler),
	})
	s, err := New(in, up.Forwarder())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEveryActionIsFoundByItsOwnForm(t *testing.T) {
	t.Parallel()
	s, all := newService(t), Routes()
	for i := range all {
		want := &all[i]
		form := url.Values{"Action": {want.Op}}
		for _, name := range want.Params {
			form[name] = []string{"1"}
		}
		if got, err := s.table.Find(want.Scope, want.Method, form, nil); err != nil || got.Op != want.Op {
			t.Errorf("%s with all its parameters: %v, %v", want.Op, got, err)
		}
		if want.Action == route.Refuse {
			continue
		}
		if sources[want.Op] == "" {
			t.Errorf("%s has no source, that rules of access could name", want.Op)
		}
		form.Set("SerialNumber", "1")
		if _, err := s.table.Find(want.Scope, want.Method, form, nil); !errors.Is(err, route.ErrUnknown) {
			t.Errorf("%s with another parameter: %v", want.Op, err)
		}
	}
}

func TestErrorsAreDocumentsOfTheService(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		is         *intake.Error
		code       string
		retryAfter string
	}{
		{intake.NewError(403, "SignatureDoesNotMatch", "<x> & y"), "AccessDenied", ""},
		{intake.NewError(400, "InvalidParameterValue", "<x> & y"), "InvalidParameterValue", ""},
		{intake.NewError(503, "SlowDown", "<x> & y"), "SlowDown", "1"},
	} {
		w := httptest.NewRecorder()
		WriteError(w, &intake.Request{ID: "id"}, tt.is)
		want := xml.Header + `<ErrorResponse xmlns="` + namespace + `"><Error><Type></Type><Code>` + tt.code +
			`</Code><Message>&lt;x&gt; &amp; y</Message></Error><RequestId>id</RequestId></ErrorResponse>`
		if w.Code != tt.is.Status || w.Body.String() != want || w.Header().Get("Retry-After") != tt.retryAfter {
			t.Errorf("%s: %d %v %s", tt.is.Code, w.Code, w.Header(), w.Body)
		}
	}
}

const goodAnswer = `<?xml version="1.0" encoding="UTF-8"?>
<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><AssumedRoleUser><Arn></Arn></AssumedRoleUser><Credentials><AccessKeyId>KEY</AccessKeyId><SecretAccessKey>s+/cret</SecretAccessKey><SessionToken>a.b.c</SessionToken><Expiration>2030-01-02T03:04:05Z</Expiration></Credentials></AssumeRoleResult><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></AssumeRoleResponse>`

func TestAnswer(t *testing.T) {
	t.Parallel()
	id, err := parseAnswer("AssumeRole", []byte(goodAnswer))
	if err != nil {
		t.Fatal(err)
	}
	if id.AccessKey != "KEY" || id.SecretKey != "s+/cret" || id.SessionToken != "a.b.c" || !id.Expires.Equal(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)) {
		t.Errorf("%q %q %q %v", id.AccessKey, id.SecretKey, id.SessionToken, id.Expires)
	}
	second := "<Credentials><AccessKeyId>OTHER</AccessKeyId></Credentials>"
	for name, change := range map[string][2]string{
		"another action's":       {"AssumeRoleRes", "AssumeRoleWithWebIdentityRes"},
		"another namespace":      {"2011-06-15", "2011-06-16"},
		"no namespace":           {` xmlns="https://sts.amazonaws.com/doc/2011-06-15/"`, ""},
		"a document type":        {"<AssumeRoleResponse ", `<!DOCTYPE x [<!ENTITY e "v">]><AssumeRoleResponse `},
		"an entity":              {"KEY", "&e;"},
		"cut off":                {"</AssumeRoleResponse>", ""},
		"a second document":      {"</AssumeRoleResponse>", "</AssumeRoleResponse><AssumeRoleResponse/>"},
		"two access keys":        {"<AccessKeyId>", "<AccessKeyId>OTHER</AccessKeyId><AccessKeyId>"},
		"two credentials":        {"</AssumeRoleResult>", second + "</AssumeRoleResult>"},
		"credentials elsewhere":  {"<ResponseMetadata>", "<ResponseMetadata>" + second},
		"a comment and an end":   {"KEY", "KEY<x/>"},
		"no access key":          {"<AccessKeyId>KEY</AccessKeyId>", ""},
		"an empty secret":        {"s+/cret", ""},
		"a further element":      {"<Expiration>", "<More>1</More><Expiration>"},
		"a date of another form": {"2030-01-02T03:04:05Z", "tomorrow"},
		"nested without end":     {"<AssumedRoleUser>", strings.Repeat("<x>", 20) + "<AssumedRoleUser>"},
		"not XML":                {"<AssumeRoleResponse", "AssumeRoleResponse"},
		"longer than allowed":    {"<ResponseMetadata>", "<!--" + strings.Repeat("x", maxBody) + "--><ResponseMetadata>"},
	} {
		bad := strings.Replace(goodAnswer, change[0], change[1], 1)
		if bad == goodAnswer {
			t.Fatalf("%s: nothing was changed", name)
		}
		if id, err := parseAnswer("AssumeRole", []byte(bad)); !errors.Is(err, ErrAnswer) {
			t.Errorf("%s: %v, %v", name, id, err)
		} else if strings.Contains(err.Error(), "cret") {
			t.Errorf("%s: the error shows the secret: %v", name, err)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte(goodAnswer))
	f.Add([]byte(`<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"/>`))
	f.Fuzz(func(t *testing.T, body []byte) {
		id, err := parseAnswer("AssumeRole", body)
		if err != nil {
			if !errors.Is(err, ErrAnswer) {
				t.Errorf("error %v", err)
			}
			return
		}
		if id.AccessKey == "" || id.SecretKey == "" || id.SessionToken == "" || id.Expires.IsZero() {
			t.Errorf("taken without all of it: %v", id)
		}
	})
}

func TestForm(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		query, form string
		want        url.Values
		err         error
	}{
		{"", "Action=A&Version=1", url.Values{"Action": {"A"}, "Version": {"1"}}, nil},
		{"Action=A", "Version=1", url.Values{"Action": {"A"}, "Version": {"1"}}, nil},
		{"", "a=%26%3D+x", url.Values{"a": {"&= x"}}, nil},
		{"Action=A", "Action=A", nil, route.ErrRepeated},
		{"", "a=1&a=2", nil, route.ErrRepeated},
		{"", "a=%zz", nil, intake.ErrMalformedQuery},
		{"", "a=1;b=2", nil, intake.ErrMalformedQuery},
		{"", strings.Repeat("&", 100), nil, intake.ErrMalformedQuery},
	} {
		got, err := formQuery(tt.query, tt.form)
		if !errors.Is(err, tt.err) || tt.err == nil && (err != nil || got.Encode() != tt.want.Encode()) {
			t.Errorf("%q, %q: %v, %v", tt.query, tt.form, got, err)
		}
	}
}

func FuzzForm(f *testing.F) {
	f.Add("Action=AssumeRole", "Version=2011-06-15")
	f.Fuzz(func(t *testing.T, query, form string) {
		all, err := formQuery(query, form)
		if err != nil {
			return
		}
		for name, values := range all {
			if len(values) != 1 {
				t.Errorf("%q has %d values", name, len(values))
			}
		}
		if again, err := formQuery("", all.Encode()); err != nil || again.Encode() != all.Encode() {
			t.Errorf("what goes upstream reads as %v, %v", again, err)
		}
	})
}

func TestWhichRequestsAreCalls(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		method, target, contentType string
		want                        bool
	}{
		{"POST", "/", formType, true},
		{"POST", "/", formType + "; charset=utf-8", true},
		{"POST", "/?Action=AssumeRoleWithWebIdentity", "", true},
		{"POST", "/", "", false},
		{"POST", "/", "application/json", false},
		{"GET", "/?Action=AssumeRole", formType, false},
	} {
		r := httptest.NewRequest(tt.method, tt.target, nil)
		r.Header.Set("Content-Type", tt.contentType)
		if got := Is(r); got != tt.want {
			t.Errorf("%s %s with %q: %v", tt.method, tt.target, tt.contentType, got)
		}
	}
}

func TestErrorsShowNothingOfTheForm(t *testing.T) {
	t.Parallel()
	s := newService(t)
	for _, form := range []string{
		"Action=AssumeRoleWithLDAPIdentity&LDAPPassword=hunter2&More=hunter2",
		"Action=AssumeRoleWithLDAPIdentity&LDAPPassword=hunter2&LDAPPassword=hunter2",
		"Action=Unknown&LDAPPassword=hunter2",
		"LDAPPassword=hunter2",
		"LDAPPassword=hunter2%zz",
		"Action=AssumeRole&LDAPPassword=hunter2",
		"Action=AssumeRole&Policy=hunter2",
		"Action=AssumeRoleWithCertificate&Policy=hunter2",
		"Action=AssumeRoleWithLDAPIdentity&LDAPPassword=hunter2&DurationSeconds=hunter2", // refused: not a secure upstream
	} {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(form))
		r.Header.Set("Content-Type", formType)
		err := s.Handle(httptest.NewRecorder(), &intake.Request{Request: r, Answer: httptest.NewRecorder()})
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", form, err)
		}
	}
}

func TestSessionDuration(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{"": maxDuration, "900": 15 * time.Minute, "0": 0, "-1": 0, "x": 0, "99999999999": 0, "31536001": 0} {
		got, err := sessionDuration(url.Values{"DurationSeconds": {text}})
		if got != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}
