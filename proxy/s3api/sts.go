package s3api

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
	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/route"
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
func (s *API) handleSTS(w http.ResponseWriter, r *intake.Request) error {
	done, err := s.in.AwaitBody(r, stsBody)
	if err != nil {
		return err
	}
	body, err := readForm(r.Request)
	done()
	if err != nil {
		return err
	}
	if r.Query, err = formQuery(r.URL.RawQuery, string(body)); err != nil {
		return err
	}
	// A name only: what else is in the form may be a password, and errors are logged.
	action := r.Query.Get("Action")
	named, err := s.table.find(route.Service, http.MethodPost, url.Values{"Action": {action}}, r.Header)
	if err != nil {
		return unsupportedAction(action)
	}
	r.Route = named.Route()
	found, err := s.table.find(route.Service, http.MethodPost, r.Query, r.Header)
	if found != nil {
		r.Route = found.Route()
	}
	if err != nil {
		return err
	}
	if _, signed := r.Header["Authorization"]; signed != (action == "AssumeRole") {
		return unsupportedAction(action)
	}
	if action == "AssumeRole" {
		auth, err := s.in.Verifier().VerifySTS(r.Request, body)
		if err != nil {
			return fmt.Errorf("verify signature: %w", err)
		}
		if r.Caller, err = s.in.CallerWith(r.Context(), auth.AccessKey, auth.SessionToken); err != nil {
			return err
		}
	}
	if found.Action == route.Refuse {
		return fmt.Errorf("%s: %s: %w", found.Op, found.Why, intake.ErrNotOffered)
	}
	if err := s.in.Enter(r); err != nil {
		return err
	}
	return found.Handler(s, w, r)
}

// unsupportedAction is MinIO's answer to an action that it does not know, or that
// is signed where it must not be, or the other way round.
func unsupportedAction(action string) error {
	if len(action) > 64 {
		action = action[:64]
	}
	return intake.NewError(400, "InvalidParameterValue", "Unsupported action "+strings.ToValidUTF8(action, "?"))
}

// readForm reads a request's small body.
func readForm(r *http.Request) ([]byte, error) {
	if r.ContentLength > stsBody {
		return nil, intake.ErrBodyTooLarge
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, stsBody+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read form: %w (%w)", intake.ErrClientGone, err)
	case len(body) > stsBody:
		return nil, intake.ErrBodyTooLarge
	}
	return body, nil
}

// formQuery returns the parameters of query and form together. Each is given once.
func formQuery(query, form string) (url.Values, error) {
	all := make(url.Values)
	for _, text := range []string{query, form} {
		if strings.Count(text, "&") > 64 {
			return nil, fmt.Errorf("too many parameters: %w", intake.ErrMalformedQuery)
		}
		values, err := url.ParseQuery(text)
		if err != nil {
			return nil, intake.ErrMalformedQuery // the parser's message shows what was sent
		}
		for name, v := range values {
			all[name] = append(all[name], v...)
		}
	}
	for _, values := range all {
		if len(values) > 1 {
			return nil, route.ErrRepeated
		}
	}
	return all, nil
}

// assumeRole serves every STS action that issues credentials: upstream issues
// them, and the proxy knows them before the client does.
func (s *API) assumeRole(w http.ResponseWriter, r *intake.Request) error {
	if r.Caller.Identity != nil && r.Caller.Identity.Kind == identity.Temporary {
		return fmt.Errorf("a session asks for a session: %w", identity.ErrNotAllowed) // as MinIO
	}
	if err := s.identities.MayLearn(r.Context(), ""); err != nil {
		return err
	}
	asked, err := sessionDuration(r.Query)
	if err != nil {
		return err
	}
	began := time.Now()
	answer, err := s.o.Forwarder.Forward(r.Context(), r.Actor(), &upstream.Forward{
		Method: http.MethodPost, Header: storage.Metadata{"Content-Type": {formType}}, Body: []byte(r.Query.Encode()), API: upstream.STS,
	})
	if err != nil {
		return fmt.Errorf("%s: %w", r.Route.Op, err)
	}
	defer answer.Close()
	body, err := io.ReadAll(io.LimitReader(answer, stsBody+1))
	if err != nil {
		return fmt.Errorf("answer of %s: %w (%w)", r.Route.Op, storage.ErrUnreachable, err)
	}
	issued, err := parseSTSAnswer(r.Route.Op, body)
	if err != nil {
		return err
	}
	if issued.Expires.After(began.Add(asked + stsSlack)) {
		return fmt.Errorf("%s: a session until %v, of %v: %w", r.Route.Op, issued.Expires, asked, errSTSAnswer)
	}
	issued.Kind, issued.Source, issued.Creator = identity.Temporary, stsSources[r.Route.Op], r.Caller.AccessKey
	if r.Caller.Identity != nil {
		issued.Parent = r.Caller.Identity.Account()
	}
	if err := s.identities.Learn(r.Context(), *issued); err != nil {
		return fmt.Errorf("learn what %s issued: %w", r.Route.Op, err)
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
		return 0, intake.NewError(400, "InvalidParameterValue", "invalid token expiry")
	}
	return time.Duration(seconds) * time.Second, nil
}

// writeSTSError answers with an error as the Security Token Service writes it.
func writeSTSError(w http.ResponseWriter, r *intake.Request, e *intake.Error) {
	code := e.Code
	if e.Status == http.StatusForbidden { // MinIO's STS has no other code for it
		code = "AccessDenied"
	}
	if e.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	var b bytes.Buffer
	b.WriteString(xml.Header + `<ErrorResponse xmlns="` + stsNamespace + `"><Error>`)
	element(&b, "Type", "")
	element(&b, "Code", code)
	element(&b, "Message", e.Message)
	b.WriteString("</Error>")
	element(&b, "RequestId", r.ID)
	b.WriteString("</ErrorResponse>")
	writeXML(w, e.Status, b.Bytes())
}
