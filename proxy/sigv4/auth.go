package sigv4

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// claim is what a request says of its signature, parsed but not yet verified.
type claim struct {
	accessKey     string
	day, region   string
	service       string
	date          time.Time
	signedHeaders []string // lower case, sorted, distinct
	signature     string
}

// scope returns the credential without the access key.
func (c *claim) scope() string {
	return string(c.appendScope(nil))
}

// appendScope appends the scope.
func (c *claim) appendScope(b []byte) []byte {
	b = append(append(b, c.day...), '/')
	b = append(append(b, c.region...), '/')
	b = append(append(b, c.service...), '/')
	return append(b, terminal...)
}

// verifyHeader verifies an S3 request with an Authorization header.
func (v *Verifier) verifyHeader(r *http.Request, auth []string, q query) (*Request, error) {
	c, err := v.headerClaim(r.Header, auth, s3Service)
	if err != nil {
		return nil, err
	}
	declared, _, err := singleHeader(r.Header, "X-Amz-Content-Sha256")
	if err != nil {
		return nil, err
	}
	token, _, err := singleHeader(r.Header, "X-Amz-Security-Token")
	if err != nil {
		return nil, err
	}
	payload := declared
	if payload == "" {
		payload = emptySHA256
	}
	key, err := v.check(r, c, q, Header, payload)
	if err != nil {
		return nil, err
	}
	out := v.request(Header, c, token)
	if err := out.setPayload(declared); err != nil {
		return nil, err
	}
	if out.Payload.signedChunks() {
		out.seed = newChunkSeed(key, c)
	}
	return out, nil
}

// headerClaim parses an Authorization header for a service, of a request that was
// signed just now.
func (v *Verifier) headerClaim(h http.Header, auth []string, service string) (*claim, error) {
	if len(auth) != 1 {
		return nil, fmt.Errorf("%w: Authorization", ErrDuplicateAuth)
	}
	switch {
	case isVersion2(auth[0]):
		return nil, ErrSigV2NotSupported
	case auth[0] != algorithm && !strings.HasPrefix(auth[0], algorithm+" "):
		return nil, ErrUnsupportedAuth
	}
	date, err := headerDate(h)
	if err != nil {
		return nil, err
	}
	if err := v.checkSkew(date); err != nil {
		return nil, err
	}
	c, err := parseAuthorization(auth[0][len(algorithm):], service)
	if err != nil {
		return nil, err
	}
	c.date = date
	return c, nil
}

// request returns the Request of a claim that holds.
func (v *Verifier) request(kind AuthKind, c *claim, token string) *Request {
	return &Request{
		Kind: kind, AccessKey: c.accessKey, SessionToken: token, Region: c.region, Date: c.date,
		SignedHeaders: c.signedHeaders, verifier: v,
	}
}

// headerDate returns when a request was signed: X-Amz-Date, else Date.
func headerDate(h http.Header) (time.Time, error) {
	value, ok, err := singleHeader(h, "X-Amz-Date")
	if err != nil {
		return time.Time{}, err
	}
	if ok {
		t, err := parseTime(value)
		if err != nil {
			return time.Time{}, ErrMalformedDate
		}
		return t, nil
	}
	value, ok, err = singleHeader(h, "Date")
	if err != nil {
		return time.Time{}, err
	}
	if !ok {
		return time.Time{}, ErrMissingDate
	}
	for _, format := range []string{timeFormat, time.RFC1123, time.RFC1123Z} {
		if t, err := time.Parse(format, value); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, ErrMalformedDate
}

// parseTime is time.Parse of timeFormat. What has its plainest form is read digit by digit,
// in a tenth of the time.
func parseTime(s string) (time.Time, error) {
	if len(s) != len(timeFormat) || s[8] != 'T' || s[15] != 'Z' {
		return time.Parse(timeFormat, s)
	}
	var n [7]int // by two digits each: century, year, month, day, hour, minute, second
	for i, at := range [7]int{0, 2, 4, 6, 9, 11, 13} {
		tens, ones := s[at]-'0', s[at+1]-'0'
		if tens > 9 || ones > 9 {
			return time.Time{}, ErrMalformedDate
		}
		n[i] = int(tens)*10 + int(ones)
	}
	if n[2] < 1 || n[2] > 12 || n[3] < 1 || n[3] > 28 || n[4] > 23 || n[5] > 59 || n[6] > 59 {
		return time.Parse(timeFormat, s) // which knows how long months are
	}
	return time.Date(n[0]*100+n[1], time.Month(n[2]), n[3], n[4], n[5], n[6], 0, time.UTC), nil
}

// parseAuthorization parses what follows the algorithm in the header:
// Credential, SignedHeaders and Signature, in any order and with any spaces
// around commas, as clients send them.
func parseAuthorization(s, service string) (*claim, error) {
	if strings.Count(s, ",") != 2 {
		return nil, ErrMissingFields
	}
	names := [3]string{"Credential", "SignedHeaders", "Signature"}
	missing := [3]error{ErrMissingCredential, ErrMissingSignedHeaders, ErrMissingSignature}
	var values [3]string
	for field := range strings.SplitSeq(s, ",") {
		name, value, _ := strings.Cut(strings.Trim(field, " \t"), "=")
		if value == "" {
			return nil, ErrMissingFields
		}
		if i := slices.Index(names[:], name); i >= 0 {
			values[i] = value
		}
	}
	for i, value := range values {
		if value == "" {
			return nil, missing[i]
		}
	}
	return newClaim(values[0], values[1], values[2], service)
}

// newClaim parses a credential for a service and a list of signed headers.
func newClaim(credential, signedHeaders, signature, service string) (*claim, error) {
	c := &claim{signature: signature, service: service}
	if err := c.parseCredential(credential); err != nil {
		return nil, err
	}
	c.signedHeaders = strings.Split(strings.ToLower(signedHeaders), ";")
	if !slices.IsSorted(c.signedHeaders) {
		slices.Sort(c.signedHeaders)
	}
	for i := 1; i < len(c.signedHeaders); i++ {
		if c.signedHeaders[i] == c.signedHeaders[i-1] {
			return nil, fmt.Errorf("%w: header listed twice", ErrSignatureDoesNotMatch)
		}
	}
	return c, nil
}

// parseCredential parses ACCESSKEY/DAY/REGION/SERVICE/aws4_request. Slashes may
// also stand in the access key, so it is taken apart from its end.
func (c *claim) parseCredential(s string) error {
	var parts [4]string
	for i := len(parts) - 1; i >= 0; i-- {
		slash := strings.LastIndexByte(s, '/')
		if slash < 0 {
			return ErrMalformedCredential
		}
		s, parts[i] = s[:slash], s[slash+1:]
	}
	c.accessKey, c.day, c.region = s, parts[0], parts[1]
	if _, err := time.Parse(dayFormat, c.day); err != nil {
		return ErrMalformedCredentialDate
	}
	if parts[2] != c.service {
		return ErrInvalidService
	}
	if parts[3] != terminal {
		return ErrInvalidTerminal
	}
	return nil
}

// checkSkew returns ErrRequestTimeTooSkewed with the difference of the clocks.
func (v *Verifier) checkSkew(date time.Time) error {
	skew := v.now().Sub(date).Round(time.Second)
	side := "behind"
	if skew < 0 {
		side = "ahead of"
	}
	if most := v.live.Load().MaxSkew; skew.Abs() > most {
		return fmt.Errorf("%w: the client's clock is %v %s ours, %v is allowed", ErrRequestTimeTooSkewed, skew.Abs(), side, most)
	}
	return nil
}

// claimedMost is how many bytes of a claimed access key are told: more than any has.
const claimedMost = 128

// ClaimedAccessKey returns the access key that a request names, proven or not, or
// "". It is for logs only.
func ClaimedAccessKey(r *http.Request) string {
	auth := r.Header.Get("Authorization")
	claimed := ""
	switch q := r.URL.Query(); {
	case strings.HasPrefix(auth, algorithm):
		_, claimed, _ = strings.Cut(auth, "Credential=")
		claimed, _, _ = strings.Cut(claimed, "/")
	case isVersion2(auth):
		claimed, _, _ = strings.Cut(strings.TrimSpace(strings.TrimPrefix(auth, version2)), ":")
	case q.Get("X-Amz-Credential") != "":
		claimed, _, _ = strings.Cut(q.Get("X-Amz-Credential"), "/")
	default:
		claimed = q.Get("AWSAccessKeyId")
	}
	return claimed[:min(len(claimed), claimedMost)]
}

// verifyPresigned verifies a request with its signature in the query.
func (v *Verifier) verifyPresigned(r *http.Request, q query) (*Request, error) {
	c, expires, err := parsePresigned(q)
	if err != nil {
		return nil, err
	}
	now := v.now()
	most := v.live.Load().MaxSkew
	if ahead := c.date.Sub(now); ahead > most {
		return nil, fmt.Errorf("%w: it is dated %v ahead of our clock, %v is allowed", ErrRequestNotReadyYet, ahead.Round(time.Second), most)
	}
	if late := now.Sub(c.date) - expires; late > 0 {
		return nil, fmt.Errorf("%w: by our clock %v ago", ErrExpiredPresign, late.Round(time.Second))
	}
	token, err := sessionToken(r.Header, q)
	if err != nil {
		return nil, err
	}
	declared, err := presignedPayload(r.Header, q)
	if err != nil {
		return nil, err
	}
	// AWS signs presigned requests with UNSIGNED-PAYLOAD, whatever the body;
	// some SDKs sign the hash that the request will declare.
	payloads := []string{unsignedPayload}
	if declared != unsignedPayload {
		payloads = append(payloads, declared)
	}
	if _, err := v.check(r, c, q, Presigned, payloads...); err != nil {
		return nil, err
	}
	out := v.request(Presigned, c, token)
	out.Expires = expires
	if err := out.setPayload(declared); err != nil {
		return nil, err
	}
	return out, nil
}

// parsePresigned parses the parameters of a presigned query.
func parsePresigned(q query) (*claim, time.Duration, error) {
	var values [6]string
	for i, name := range []string{
		"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature",
	} {
		value, ok, err := q.auth(name)
		if err != nil {
			return nil, 0, err
		}
		if !ok {
			return nil, 0, fmt.Errorf("%w: %s", ErrMissingQueryParams, name)
		}
		values[i] = value
	}
	if values[0] != algorithm {
		return nil, 0, ErrInvalidQueryAlgorithm
	}
	c, err := newClaim(values[1], values[4], values[5], s3Service)
	if err != nil {
		return nil, 0, err
	}
	if c.date, err = time.Parse(timeFormat, values[2]); err != nil {
		return nil, 0, ErrMalformedPresignedDate
	}
	seconds, err := strconv.ParseInt(values[3], 10, 64)
	switch {
	case err != nil:
		return nil, 0, ErrMalformedExpires
	case seconds < 0:
		return nil, 0, ErrNegativeExpires
	case seconds > int64(maxExpires/time.Second):
		return nil, 0, ErrExpiresTooLong
	}
	return c, time.Duration(seconds) * time.Second, nil
}

// sessionToken returns the token of a presigned request, from the query or a
// header, not both.
func sessionToken(h http.Header, q query) (string, error) {
	token, inQuery, err := q.auth("X-Amz-Security-Token")
	if err != nil {
		return "", err
	}
	header, inHeader, err := singleHeader(h, "X-Amz-Security-Token")
	if err != nil {
		return "", err
	}
	if inQuery && inHeader {
		return "", fmt.Errorf("%w: X-Amz-Security-Token", ErrDuplicateAuth)
	}
	return token + header, nil
}

// presignedPayload returns what a presigned request declares of its body, in
// the query or a header; if in both, they must agree.
func presignedPayload(h http.Header, q query) (string, error) {
	declared, _, err := q.auth("X-Amz-Content-Sha256")
	if err != nil {
		return "", err
	}
	header, _, err := singleHeader(h, "X-Amz-Content-Sha256")
	if err != nil {
		return "", err
	}
	switch {
	case declared == "" && header == "":
		return unsignedPayload, nil
	case declared == "":
		return header, nil
	case header == "" || header == declared:
		return declared, nil
	default:
		return "", fmt.Errorf("%w: X-Amz-Content-Sha256", ErrDuplicateAuth)
	}
}
