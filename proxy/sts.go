package proxy

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/upstream"
)

const (
	formType = "application/x-www-form-urlencoded"
	// stsBody bounds the form of an STS call, in bytes: a token and a policy.
	stsBody = 64 << 10
	// maxSTSDuration is the longest session that MinIO issues, and stsSlack what
	// clocks may differ by.
	maxSTSDuration = 365 * 24 * time.Hour
	stsSlack       = 5 * time.Minute
	// stsNamespace is that of the Security Token Service's documents.
	stsNamespace = "https://sts.amazonaws.com/doc/2011-06-15/"
)

// isSTS says whether a request to / calls the Security Token Service.
func isSTS(r *http.Request) bool {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return r.Method == http.MethodPost && (err == nil && media == formType || strings.Contains(r.URL.RawQuery, "Action="))
}

// handleSTS finds the STS action that a request names in its form or query, and
// who signed it if anybody did.
func (s *Server) handleSTS(w http.ResponseWriter, r *request) error {
	done, err := s.awaitBody(r, stsBody)
	if err != nil {
		return err
	}
	body, err := readForm(r.Request)
	done()
	if err != nil {
		return err
	}
	if r.query, err = formQuery(r.URL.RawQuery, string(body)); err != nil {
		return err
	}
	// A name only: what else is in the form may be a password, and errors are logged.
	action := r.query.Get("Action")
	r.route, err = s.table.find(scopeService, http.MethodPost, url.Values{"Action": {action}}, r.Header)
	if err != nil {
		return unsupportedAction(action)
	}
	if r.route, err = s.table.find(scopeService, http.MethodPost, r.query, r.Header); err != nil {
		return err
	}
	if _, signed := r.Header["Authorization"]; signed != (action == "AssumeRole") {
		return unsupportedAction(action)
	}
	if action == "AssumeRole" {
		auth, err := s.verifier.VerifySTS(r.Request, body)
		if err != nil {
			return fmt.Errorf("verify signature: %w", err)
		}
		if r.caller, err = s.callerWith(r.Context(), auth.AccessKey, auth.SessionToken); err != nil {
			return err
		}
	}
	if r.route.action == refuse {
		return fmt.Errorf("%s: %s: %w", r.route.op, r.route.why, errNotOffered)
	}
	if err := s.enter(r); err != nil {
		return err
	}
	return r.route.handler(s, w, r)
}

// unsupportedAction is MinIO's answer to an action that it does not know, or that
// is signed where it must not be, or the other way round.
func unsupportedAction(action string) error {
	if len(action) > 64 {
		action = action[:64]
	}
	return &apiError{400, "InvalidParameterValue", "Unsupported action " + strings.ToValidUTF8(action, "?"), nil}
}

// readForm reads a request's small body.
func readForm(r *http.Request) ([]byte, error) {
	if r.ContentLength > stsBody {
		return nil, errBodyTooLarge
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, stsBody+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read form: %w (%w)", errClientGone, err)
	case len(body) > stsBody:
		return nil, errBodyTooLarge
	}
	return body, nil
}

// formQuery returns the parameters of query and form together. Each is given once.
func formQuery(query, form string) (url.Values, error) {
	all := make(url.Values)
	for _, text := range []string{query, form} {
		if strings.Count(text, "&") > 64 {
			return nil, fmt.Errorf("too many parameters: %w", errMalformedQuery)
		}
		values, err := url.ParseQuery(text)
		if err != nil {
			return nil, errMalformedQuery // the parser's message shows what was sent
		}
		for name, v := range values {
			all[name] = append(all[name], v...)
		}
	}
	for _, values := range all {
		if len(values) > 1 {
			return nil, errRepeatedParameter
		}
	}
	return all, nil
}

// assumeRole serves every STS action that issues credentials: upstream issues
// them, and the proxy knows them before the client does.
func (s *Server) assumeRole(w http.ResponseWriter, r *request) error {
	if r.caller.identity != nil && r.caller.identity.Kind == identity.Temporary {
		return fmt.Errorf("a session asks for a session: %w", identity.ErrNotAllowed) // as MinIO
	}
	if err := s.identities.MayLearn(r.Context(), ""); err != nil {
		return err
	}
	asked, err := sessionDuration(r.query)
	if err != nil {
		return err
	}
	up := r.upstreamRequest(http.MethodPost)
	up.Header.Set("Content-Type", formType)
	up.STS = true
	setDocument(up, []byte(r.query.Encode()), false)
	began := time.Now()
	resp, err := s.opts.Upstream.Do(r.Context(), up)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return s.upstreamSTSError(r, resp)
	}
	defer upstream.Discard(resp)
	body, err := io.ReadAll(io.LimitReader(resp.Body, stsBody+1))
	if err != nil {
		return fmt.Errorf("answer of %s: %w (%w)", r.route.op, storage.ErrUnreachable, err)
	}
	issued, err := parseSTSAnswer(r.route.op, body)
	if err != nil {
		return err
	}
	if issued.Expires.After(began.Add(asked + stsSlack)) {
		return fmt.Errorf("%s: a session until %v, of %v: %w", r.route.op, issued.Expires, asked, errSTSAnswer)
	}
	issued.Kind, issued.Source, issued.Creator = identity.Temporary, stsSources[r.route.op], r.caller.accessKey
	if err := s.identities.Learn(r.Context(), *issued); err != nil {
		return fmt.Errorf("learn what %s issued: %w", r.route.op, err)
	}
	writeXML(w, http.StatusOK, body)
	return nil
}

// stsSources are the actions that issue credentials.
var stsSources = map[string]identity.Source{
	"AssumeRole":                 identity.AssumeRole,
	"AssumeRoleWithWebIdentity":  identity.WebIdentity,
	"AssumeRoleWithClientGrants": identity.ClientGrants,
	"AssumeRoleWithLDAPIdentity": identity.LDAP,
	"AssumeRoleWithCustomToken":  identity.CustomToken,
}

// sessionDuration returns how long a session may last at most.
func sessionDuration(form url.Values) (time.Duration, error) {
	text := form.Get("DurationSeconds")
	if text == "" {
		return maxSTSDuration, nil
	}
	seconds, err := strconv.ParseInt(text, 10, 32)
	if err != nil || seconds <= 0 || time.Duration(seconds)*time.Second > maxSTSDuration {
		return 0, &apiError{400, "InvalidParameterValue", "invalid token expiry", nil}
	}
	return time.Duration(seconds) * time.Second, nil
}

// upstreamSTSError returns upstream's refusal. The signature that it saw is the proxy's.
func (s *Server) upstreamSTSError(r *request, resp *http.Response) error {
	defer upstream.Discard(resp)
	var answer struct {
		XMLName xml.Name `xml:"ErrorResponse"`
		Error   struct{ Code, Message string }
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, stsBody))
	if err == nil {
		err = xml.Unmarshal(body, &answer)
	}
	if err != nil || answer.Error.Code == "" || resp.StatusCode < 400 {
		return fmt.Errorf("%s: upstream answered %d: %w", r.route.op, resp.StatusCode, storage.ErrUnreachable)
	}
	return &storage.Error{Status: resp.StatusCode, Code: answer.Error.Code, Message: answer.Error.Message, Header: storage.Metadata(resp.Header)}
}

// writeSTSError answers with an error as the Security Token Service writes it.
func writeSTSError(w http.ResponseWriter, r *request, e *apiError) {
	code := e.code
	if e.status == http.StatusForbidden { // MinIO's STS has no other code for it
		code = "AccessDenied"
	}
	if e.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	var b bytes.Buffer
	b.WriteString(xml.Header + `<ErrorResponse xmlns="` + stsNamespace + `"><Error>`)
	element(&b, "Type", "")
	element(&b, "Code", code)
	element(&b, "Message", e.message)
	b.WriteString("</Error>")
	element(&b, "RequestId", r.id)
	b.WriteString("</ErrorResponse>")
	writeXML(w, e.status, b.Bytes())
}
