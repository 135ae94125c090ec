package console

import (
	"errors"
	"fmt"
	"net/http"
)

// What goes wrong here. What the proxy refuses is a *refusal.
var (
	errNoPage      = errors.New("there is no such page")
	errNoSession   = errors.New("not logged in, or not any more")
	errForm        = errors.New("this form was not sent from this console in this session, or it is too old")
	errNotOperator = errors.New("only operators see this page: an access key that access.key_admins names, and that MinIO lets ask for admin:ServerInfo")
	errLogin       = errors.New("the access key or its secret is wrong")
	errTooMany     = errors.New("too many failed logins")
	errBusy        = errors.New("others are doing this already")
	errNothing     = errors.New("nothing to do: a field is missing")
)

// refusal is an answer of the proxy that is no success.
type refusal struct {
	status        int
	code, message string
}

// Error implements error.
func (r *refusal) Error() string {
	if r.code == "" {
		return fmt.Sprintf("the proxy answers %d", r.status)
	}
	return r.code + ": " + r.message
}

// errorRow says what a visitor sees of an error.
type errorRow struct {
	err    error
	status int
	advice string
}

func errorTable() []errorRow {
	return []errorRow{
		{errNoPage, http.StatusNotFound, ""},
		{errForm, http.StatusForbidden, "Nothing was changed. Open the page again, and send the form from there."},
		{errNotOperator, http.StatusForbidden, ""},
		{errBusy, http.StatusServiceUnavailable, "Try again in a moment."},
		{errNothing, http.StatusBadRequest, "Go back, and fill the form in."},
		{ErrNoAudit, http.StatusNotFound, "Set audit.file.path, and start the server again."},
		{errUploadLength, http.StatusBadRequest, "Choose a file that is not being written."},
	}
}

// fail answers with an error.
func (c *Console) fail(v *visit, err error) {
	if errors.Is(err, errNoSession) {
		c.forget(v)
		http.Redirect(v.ResponseWriter, v.Request, "/login", http.StatusSeeOther)
		return
	}
	status, advice, text := http.StatusInternalServerError, "The server's log says more.", "Something went wrong."
	for _, row := range errorTable() {
		if errors.Is(err, row.err) {
			status, advice, text = row.status, row.advice, sentence(err.Error())
			break
		}
	}
	if said := new(refusal); errors.As(err, &said) {
		status, advice, text = said.status, "", sentence(said.Error())
	}
	if status == http.StatusInternalServerError {
		c.log.Error("the console cannot show a page", "page", v.URL.Path, "error", err)
	}
	v.page.Title = http.StatusText(status)
	if err := c.show(v, status, "error", map[string]string{"Text": text, "Advice": advice}); err != nil {
		http.Error(v.ResponseWriter, text, status)
	}
}
