// Package sts is the Security Token Service: it passes an action on to the storage, and
// knows the credential that the storage issues before the client does.
package sts

import (
	"encoding/xml"
	"errors"
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
	// maxBody bounds the form of a call, and the answer to it, in bytes: a token and a
	// policy.
	maxBody = 64 << 10
	// maxDuration is the longest session that MinIO issues, and slack what clocks may
	// differ by.
	maxDuration = 365 * 24 * time.Hour
	slack       = 5 * time.Minute
	// namespace is that of the service's documents.
	namespace = "https://sts.amazonaws.com/doc/2011-06-15/"
)

// ErrAnswer says that what the storage answered is no credential.
var ErrAnswer = errors.New("what upstream's STS answered is no credential")

// Service serves the actions of the Security Token Service. It is safe for concurrent use.
type Service struct {
	in         *intake.Intake
	identities *identity.Store
	forwarder  *upstream.Forwarder
	table      *table
}

// New returns the service. The error is one of its table.
func New(in *intake.Intake, forwarder *upstream.Forwarder) (*Service, error) {
	table, err := route.NewTable(Routes(), func(r *row) bool { return r.Handler != nil })
	return &Service{in: in, identities: in.Identities(), forwarder: forwarder, table: table}, err
}

// Is says whether a request to / calls the Security Token Service.
func Is(r *http.Request) bool {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return r.Method == http.MethodPost && (err == nil && media == formType || strings.Contains(r.URL.RawQuery, "Action="))
}

// Handle serves the action that a request names in its form or query, and finds who signed
// it if anybody did.
func (s *Service) Handle(w http.ResponseWriter, r *intake.Request) error {
	done, err := s.in.AwaitBody(r, maxBody)
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
	named, err := s.table.Find(route.Service, http.MethodPost, url.Values{"Action": {action}}, r.Header)
	if err != nil {
		return unsupportedAction(action)
	}
	r.Route = named.Route()
	found, err := s.table.Find(route.Service, http.MethodPost, r.Query, r.Header)
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
	if r.ContentLength > maxBody {
		return nil, intake.ErrBodyTooLarge
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read form: %w (%w)", intake.ErrClientGone, err)
	case len(body) > maxBody:
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

// assumeRole serves every action that issues credentials: upstream issues
// them, and the proxy knows them before the client does.
func (s *Service) assumeRole(w http.ResponseWriter, r *intake.Request) error {
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
	answer, err := s.forwarder.Forward(r.Context(), r.Actor(), &upstream.Forward{
		Method: http.MethodPost, Header: storage.Metadata{"Content-Type": {formType}}, Body: []byte(r.Query.Encode()), API: upstream.STS,
	})
	if err != nil {
		return fmt.Errorf("%s: %w", r.Route.Op, err)
	}
	defer answer.Close()
	body, err := io.ReadAll(io.LimitReader(answer, maxBody+1))
	if err != nil {
		return fmt.Errorf("answer of %s: %w (%w)", r.Route.Op, storage.ErrUnreachable, err)
	}
	issued, err := parseAnswer(r.Route.Op, body)
	if err != nil {
		return err
	}
	if issued.Expires.After(began.Add(asked + slack)) {
		return fmt.Errorf("%s: a session until %v, of %v: %w", r.Route.Op, issued.Expires, asked, ErrAnswer)
	}
	issued.Kind, issued.Source, issued.Creator = identity.Temporary, sources[r.Route.Op], r.Caller.AccessKey
	if r.Caller.Identity != nil {
		issued.Parent = r.Caller.Identity.Account()
	}
	if err := s.identities.Learn(r.Context(), *issued); err != nil {
		return fmt.Errorf("learn what %s issued: %w", r.Route.Op, err)
	}
	intake.WriteDocument(w, http.StatusOK, "application/xml", body)
	return nil
}

// sources are the actions that issue credentials.
var sources = map[string]identity.Source{
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
		return maxDuration, nil
	}
	seconds, err := strconv.ParseInt(text, 10, 32)
	if err != nil || seconds <= 0 || time.Duration(seconds)*time.Second > maxDuration {
		return 0, intake.NewError(400, "InvalidParameterValue", "invalid token expiry")
	}
	return time.Duration(seconds) * time.Second, nil
}

// errorDocument is an error as the Security Token Service writes it.
type errorDocument struct {
	XMLName xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ ErrorResponse"`
	Error   struct{ Type, Code, Message string }
	ID      string `xml:"RequestId"`
}

// WriteError answers with an error as the Security Token Service writes it.
func WriteError(w http.ResponseWriter, r *intake.Request, e *intake.Error) {
	d := errorDocument{ID: r.ID}
	d.Error.Code, d.Error.Message = e.Code, e.Message
	if e.Status == http.StatusForbidden { // MinIO's STS has no other code for it
		d.Error.Code = "AccessDenied"
	}
	if e.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	text, _ := xml.Marshal(&d) // strings only
	intake.WriteDocument(w, e.Status, "application/xml", append([]byte(xml.Header), text...))
}
