package console

import (
	"errors"
	"net/http"
	"strconv"
)

// loginPage asks who it is.
func (c *Console) loginPage(v *visit) error { return c.askLogin(v, http.StatusOK, "", "") }

func (c *Console) askLogin(v *visit, status int, accessKey, problem string) error {
	v.page.Title = "Log in"
	return c.show(v, status, "login", map[string]string{"AccessKey": accessKey, "Problem": problem})
}

// login begins a session, if the proxy takes a request that the credential signed. Sessions
// that are logged in elsewhere stay.
func (c *Console) login(v *visit) error {
	if err := v.small(); err != nil {
		return err
	}
	who := Credential{AccessKey: v.PostFormValue("access_key"), SecretKey: v.PostFormValue("secret_key")}
	address, key := nameOfAddress(v.from), nameOfKey(who.AccessKey)
	if !c.failures.take(address, failuresOfAddress) || !c.failures.take(key, failuresOfKey) {
		c.log.Warn("too many failed logins at the console", "access_key", who.AccessKey, "client", v.from.String())
		v.Header().Set("Retry-After", strconv.Itoa(int(failuresFor.Seconds())))
		return c.askLogin(v, http.StatusTooManyRequests, who.AccessKey, sentence(errTooMany.Error())+" Wait for five minutes.")
	}
	err := c.verify(v, who)
	switch {
	case errors.Is(err, errLogin):
		c.log.Warn("failed login at the console", "access_key", who.AccessKey, "client", v.from.String())
		return c.askLogin(v, http.StatusForbidden, who.AccessKey, sentence(err.Error()))
	case err != nil:
		return c.askLogin(v, http.StatusServiceUnavailable, who.AccessKey, "It cannot be told now whether this is right. "+sentence(err.Error()))
	}
	c.failures.give(address)
	c.failures.give(key)
	if old, err := c.session(v); err == nil {
		c.sessions.end(old)
	}
	http.SetCookie(v.ResponseWriter, c.cookie(c.sessions.begin(who, v.from), int(c.o.Life.Seconds())))
	c.log.Info("login at the console", "access_key", who.AccessKey, "client", v.from.String())
	http.Redirect(v.ResponseWriter, v.Request, "/", http.StatusSeeOther)
	return nil
}

// verify asks the proxy for the caller's buckets. Who may not list any is somebody all the
// same. errLogin, or what is wrong with the proxy.
func (c *Console) verify(v *visit, who Credential) error {
	a, err := c.askAs(v, who, &request{method: http.MethodGet, path: "/"})
	if err == nil {
		err = a.failure()
	}
	said := new(refusal)
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &said) || said.status >= http.StatusInternalServerError:
		return err
	case said.code == "AccessDenied":
		return nil
	default:
		return errLogin
	}
}

// logout ends the session.
func (c *Console) logout(v *visit) error {
	c.sessions.end(v.session)
	c.log.Info("logout at the console", "access_key", v.session.who.AccessKey)
	return errNoSession
}
