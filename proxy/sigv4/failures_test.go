package sigv4

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"
)

// replaceAuth returns the header-signed request with its Authorization edited.
func replaceAuth(edits ...string) *http.Request {
	r := signing{at: now()}.inHeader()
	r.Header.Set("Authorization", strings.NewReplacer(edits...).Replace(r.Header.Get("Authorization")))
	return r
}

// auth returns a request with this Authorization header and nothing else.
func auth(value string) *http.Request {
	r := signing{at: now()}.inHeader()
	r.Header.Set("Authorization", value)
	return r
}

// edited applies an edit to a request.
func edited(r *http.Request, edit func(r *http.Request)) *http.Request {
	edit(r)
	return r
}

func TestVerifyHeaderFailures(t *testing.T) {
	t.Parallel()
	ok := signing{at: now()}
	header := func(name, value string) *http.Request {
		return edited(ok.inHeader(), func(r *http.Request) { r.Header.Add(name, value) })
	}
	for name, c := range map[string]struct {
		r    *http.Request
		want error
	}{
		"empty":                    {auth(""), ErrUnsupportedAuth},
		"bearer":                   {auth("Bearer token"), ErrUnsupportedAuth},
		"ecdsa":                    {replaceAuth("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"), ErrUnsupportedAuth},
		"no space":                 {replaceAuth("SHA256 C", "SHA256C"), ErrUnsupportedAuth},
		"version 2":                {auth("AWS AKIAIOSFODNN7EXAMPLE:c2ln"), ErrSigV2NotSupported},
		"algorithm only":           {auth("AWS4-HMAC-SHA256"), ErrMissingFields},
		"two fields":               {replaceAuth(", Signature=", "; Signature="), ErrMissingFields},
		"four fields":              {replaceAuth(", Signature=", ", X=y, Signature="), ErrMissingFields},
		"field repeated":           {replaceAuth("SignedHeaders=", "Credential="), ErrMissingSignedHeaders},
		"no value":                 {auth("AWS4-HMAC-SHA256 Credential=, SignedHeaders=host, Signature=ab"), ErrMissingFields},
		"no credential":            {replaceAuth("Credential=", "Credentials="), ErrMissingCredential},
		"no signed headers":        {replaceAuth("SignedHeaders=", "Signed="), ErrMissingSignedHeaders},
		"no signature":             {replaceAuth("Signature=", "Sig="), ErrMissingSignature},
		"credential short":         {replaceAuth("/aws4_request", ""), ErrMalformedCredential},
		"credential date":          {replaceAuth("/20260301", "/2026"), ErrMalformedCredentialDate},
		"credential service":       {signing{at: now(), scope: "20260301/us-east-1/sts/aws4_request"}.inHeader(), ErrInvalidService},
		"credential terminal":      {signing{at: now(), scope: "20260301/us-east-1/s3/aws5_request"}.inHeader(), ErrInvalidTerminal},
		"key of another day":       {signing{at: now(), scope: "20260228/us-east-1/s3/aws4_request"}.inHeader(), ErrSignatureDoesNotMatch},
		"unknown key":              {signing{at: now(), key: "AKIDNOBODY"}.inHeader(), ErrInvalidAccessKeyID},
		"wrong secret":             {signing{at: now(), secret: "wrong"}.inHeader(), ErrSignatureDoesNotMatch},
		"upper-case signature":     {edited(ok.inHeader(), upperSignature), ErrSignatureDoesNotMatch},
		"short signature":          {replaceAuth("Signature=", "Signature=00"), ErrSignatureDoesNotMatch},
		"header listed twice":      {replaceAuth("SignedHeaders=host", "SignedHeaders=host;host"), ErrSignatureDoesNotMatch},
		"too old":                  {signing{at: now().Add(-15*time.Minute - time.Second)}.inHeader(), ErrRequestTimeTooSkewed},
		"too new":                  {signing{at: now().Add(15*time.Minute + time.Second)}.inHeader(), ErrRequestTimeTooSkewed},
		"no date":                  {edited(ok.inHeader(), func(r *http.Request) { r.Header.Del("X-Amz-Date") }), ErrMissingDate},
		"bad date":                 {edited(ok.inHeader(), func(r *http.Request) { r.Header.Set("X-Amz-Date", "2026") }), ErrMalformedDate},
		"bad Date":                 {edited(ok.inHeader(), func(r *http.Request) { r.Header.Del("X-Amz-Date"); r.Header.Set("Date", "x") }), ErrMalformedDate},
		"Authorization twice":      {header("Authorization", "Basic x"), ErrDuplicateAuth},
		"date twice":               {header("X-Amz-Date", "20260301T120000Z"), ErrDuplicateAuth},
		"sha256 twice":             {header("X-Amz-Content-Sha256", unsignedPayload), ErrDuplicateAuth},
		"unsigned x-amz header":    {header("X-Amz-Meta-A", "1"), ErrUnsignedHeaders},
		"unsigned copy source":     {header("X-Amz-Copy-Source", "b/k"), ErrUnsignedHeaders},
		"host unsigned":            {replaceAuth("SignedHeaders=host;", "SignedHeaders="), ErrUnsignedHeaders},
		"signed header absent":     {signing{at: now(), phantom: "x-amz-acl"}.inHeader(), ErrUnsignedHeaders},
		"other method":             {edited(ok.inHeader(), func(r *http.Request) { r.Method = "PUT" }), ErrSignatureDoesNotMatch},
		"other path":               {edited(ok.inHeader(), func(r *http.Request) { r.URL.Path = "/bucket/kez" }), ErrSignatureDoesNotMatch},
		"other host":               {edited(ok.inHeader(), func(r *http.Request) { r.Host = "evil.example.com" }), ErrSignatureDoesNotMatch},
		"added query":              {edited(ok.inHeader(), func(r *http.Request) { r.URL.RawQuery = "acl" }), ErrSignatureDoesNotMatch},
		"other value":              {edited(signing{at: now(), header: map[string]string{"range": "bytes=0-1"}}.inHeader(), func(r *http.Request) { r.Header.Set("Range", "bytes=0-2") }), ErrSignatureDoesNotMatch},
		"garbage sha256":           {signing{at: now(), payload: "garbage"}.inHeader(), ErrInvalidSHA256Header},
		"unknown streaming":        {signing{at: now(), payload: "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"}.inHeader(), ErrInvalidSHA256Header},
		"bad escape":               {edited(ok.inHeader(), func(r *http.Request) { r.URL.RawQuery = "a=%zz" }), ErrMalformedQuery},
		"semicolon":                {edited(ok.inHeader(), func(r *http.Request) { r.URL.RawQuery = "a=1;b=2" }), ErrMalformedQuery},
		"too many parameters":      {edited(ok.inHeader(), func(r *http.Request) { r.URL.RawQuery = strings.Repeat("a&", 1100) }), ErrMalformedQuery},
		"presigned too":            {edited(ok.inHeader(), func(r *http.Request) { r.URL.RawQuery = "X-Amz-Signature=ab" }), ErrMultipleAuth},
		"presigned version 2 too":  {edited(ok.inHeader(), func(r *http.Request) { r.URL.RawQuery = "AWSAccessKeyId=ab" }), ErrMultipleAuth},
		"anonymous signed chunks":  {edited(signing{at: now(), payload: streamingSigned}.inHeader(), func(r *http.Request) { r.Header.Del("Authorization") }), ErrUnsupportedStreaming},
		"query version 2":          {edited(auth(""), func(r *http.Request) { r.Header.Del("Authorization"); r.URL.RawQuery = "AWSAccessKeyId=x&Signature=y" }), ErrSigV2NotSupported},
		"anonymous broken query":   {edited(auth(""), func(r *http.Request) { r.Header.Del("Authorization"); r.URL.RawQuery = "%" }), ErrMalformedQuery},
		"anonymous garbage sha256": {edited(signing{at: now(), payload: "x"}.inHeader(), func(r *http.Request) { r.Header.Del("Authorization") }), ErrInvalidSHA256Header},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if q, err := newVerifier(t, now()).Verify(c.r); !errors.Is(err, c.want) || q != nil {
				t.Errorf("got %v, %v; want %v", q, err, c.want)
			}
		})
	}
}

func upperSignature(r *http.Request) {
	value, signature, _ := strings.Cut(r.Header.Get("Authorization"), "Signature=")
	r.Header.Set("Authorization", value+"Signature="+strings.ToUpper(signature))
}

func TestVerifyPresignedFailures(t *testing.T) {
	t.Parallel()
	ok := signing{at: now()}
	edit := func(edits ...string) *http.Request {
		return edited(ok.inQuery("60"), func(r *http.Request) { r.URL.RawQuery = strings.NewReplacer(edits...).Replace(r.URL.RawQuery) })
	}
	for name, c := range map[string]struct {
		r    *http.Request
		want error
	}{
		"expired":               {signing{at: now().Add(-61 * time.Second)}.inQuery("60"), ErrExpiredPresign},
		"not yet":               {signing{at: now().Add(16 * time.Minute)}.inQuery("60"), ErrRequestNotReadyYet},
		"expires no number":     {ok.inQuery("abc"), ErrMalformedExpires},
		"expires empty":         {ok.inQuery(""), ErrMalformedExpires},
		"expires fraction":      {ok.inQuery("1.5"), ErrMalformedExpires},
		"expires overflow":      {ok.inQuery("99999999999999999999"), ErrMalformedExpires},
		"expires negative":      {ok.inQuery("-1"), ErrNegativeExpires},
		"expires over a week":   {ok.inQuery("604801"), ErrExpiresTooLong},
		"expires changed":       {edit("X-Amz-Expires=60", "X-Amz-Expires=600"), ErrSignatureDoesNotMatch},
		"no algorithm":          {edit("X-Amz-Algorithm", "Algorithm"), ErrMissingQueryParams},
		"no credential":         {edit("X-Amz-Credential", "Credential"), ErrMissingQueryParams},
		"no date":               {edit("X-Amz-Date", "Date"), ErrMissingQueryParams},
		"no expires":            {edit("X-Amz-Expires", "Expires"), ErrMissingQueryParams},
		"no signed headers":     {edit("X-Amz-SignedHeaders", "SignedHeaders"), ErrMissingQueryParams},
		"no signature":          {edit("X-Amz-Signature", "Signature"), ErrMissingQueryParams},
		"lower-case name":       {edit("X-Amz-Signature", "x-amz-signature"), ErrMissingQueryParams},
		"other algorithm":       {edit("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA512"), ErrInvalidQueryAlgorithm},
		"bad date":              {edit("X-Amz-Date=2026", "X-Amz-Date=x"), ErrMalformedPresignedDate},
		"credential short":      {edit("%2Faws4_request", ""), ErrMalformedCredential},
		"credential date":       {edit("%2F20260301", "%2F2026"), ErrMalformedCredentialDate},
		"credential service":    {signing{at: now(), scope: "20260301/us-east-1/ec2/aws4_request"}.inQuery("60"), ErrInvalidService},
		"key of another day":    {signing{at: now(), scope: "20260228/us-east-1/s3/aws4_request"}.inQuery("60"), ErrSignatureDoesNotMatch},
		"unknown key":           {signing{at: now(), key: "AKIDNOBODY"}.inQuery("60"), ErrInvalidAccessKeyID},
		"wrong secret":          {signing{at: now(), secret: "wrong"}.inQuery("60"), ErrSignatureDoesNotMatch},
		"tampered":              {edit("X-Amz-Signature=", "X-Amz-Signature=0"), ErrSignatureDoesNotMatch},
		"parameter twice":       {edit("X-Amz-Expires=60", "X-Amz-Expires=60&X-Amz-Expires=60"), ErrDuplicateAuth},
		"twice in another case": {edit("X-Amz-Expires=60", "X-Amz-Expires=60&x-amz-expires=600"), ErrDuplicateAuth},
		"added parameter":       {edit("X-Amz-Algorithm", "versionId=1&X-Amz-Algorithm"), ErrSignatureDoesNotMatch},
		"unsigned x-amz header": {signing{at: now(), unsigned: map[string]string{"x-amz-meta-a": "1"}}.inQuery("60"), ErrUnsignedHeaders},
		"signed header absent":  {signing{at: now(), phantom: "x-amz-acl"}.inQuery("60"), ErrUnsignedHeaders},
		"host unsigned":         {edit("SignedHeaders=host", "SignedHeaders=range"), ErrUnsignedHeaders},
		"other method":          {edited(ok.inQuery("60"), func(r *http.Request) { r.Method = "DELETE" }), ErrSignatureDoesNotMatch},
		"signed chunks":         {signing{at: now(), header: map[string]string{"x-amz-content-sha256": streamingSigned}}.inQuery("60"), ErrUnsupportedStreaming},
		"two payloads":          {signing{at: now(), query: "X-Amz-Content-Sha256=" + emptySHA256, unsigned: map[string]string{"x-amz-content-sha256": unsignedPayload}}.inQuery("60"), ErrDuplicateAuth},
		"two tokens":            {signing{at: now(), query: "X-Amz-Security-Token=a", header: map[string]string{"x-amz-security-token": "a"}}.inQuery("60"), ErrDuplicateAuth},
		"version 2 too":         {edit("X-Amz-Algorithm", "AWSAccessKeyId=a&X-Amz-Algorithm"), ErrMultipleAuth},
		"Authorization too":     {edited(ok.inQuery("60"), func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") }), ErrMultipleAuth},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if q, err := newVerifier(t, now()).Verify(c.r); !errors.Is(err, c.want) || q != nil {
				t.Errorf("got %v, %v; want %v", q, err, c.want)
			}
		})
	}
}

func TestPresignedIsValidUntilItExpires(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]signing{
		"last second": {at: now().Add(-60 * time.Second)}, "ahead by the skew": {at: now().Add(15 * time.Minute)},
	} {
		if _, err := newVerifier(t, now()).Verify(s.inQuery("60")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	week := signing{at: now().Add(-7 * 24 * time.Hour)}
	if _, err := newVerifier(t, now()).Verify(week.inQuery("604800")); err != nil {
		t.Errorf("a week: %v", err)
	}
}

func TestEverySentinelIsListedOnce(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	declared := 0
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok {
			declared += len(spec.Names)
		}
		return true
	})
	seen := map[error]bool{}
	for _, err := range Sentinels() {
		if seen[err] {
			t.Errorf("%v is listed twice", err)
		}
		seen[err] = true
	}
	if len(seen) != declared {
		t.Errorf("%d of %d sentinels listed", len(seen), declared)
	}
}

func TestRequestPrintsNoSecrets(t *testing.T) {
	t.Parallel()
	s := signing{at: now(), payload: streamingSigned, header: map[string]string{"x-amz-security-token": "hush-token"}}
	r := s.inHeader()
	q, err := newVerifier(t, now()).Verify(r)
	if err != nil {
		t.Fatal(err)
	}
	if q.SessionToken != "hush-token" || q.seed == nil {
		t.Fatalf("the request holds no secrets: %+v", q)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "q", q)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "q", q)
	encoded, err := json.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	s.defaults()
	key := s.signingKey()
	printed := log.String() + string(encoded)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x", "%q"} {
		printed += fmt.Sprintf(verb, q) + fmt.Sprintf(verb, *q) + fmt.Sprintf(verb, []*Request{q})
	}
	for _, secret := range []string{"hush-token", testSecret, fmt.Sprintf("%x", key), strings.Trim(fmt.Sprintf("%d", key), "[]")} {
		if strings.Contains(printed, secret) {
			t.Errorf("%q is printed", secret)
		}
	}
}
