/* SPDX-License-Identifier: MIT */
/*
 * KEYS[1] is T w, for the slot of a cluster; ARGV[1] is T, from which the other keys are
 * made. For Redis 6.0 and later, and Valkey.
 *
 * A script is one step: nobody dies within, and a server's log has all of it or nothing.
 * So a chunk, if somebody dies, is
 *
 *	before put		known to its caller alone
 *	before it is taken	unread, any host's
 *	before done		pending; told lost, when its host is no member
 *	before the answer	done: the host sends it again under its new name, and has
 *	to done comes		nothing outstanding
 *	before its result	in r: the courier's next connection reads all of r, and
 *	is read, or deleted	takes what is of a trip still
 *	of a server that has	what its caller says it is: what the server has neither in
 *	lost its last writes	o nor in r is put again
 */
#include "engine/script.h"

#define HEAD                                                                             \
	"local call,try,T=redis.call,redis.pcall,ARGV[1] local time=call('TIME') "       \
	"local now=time[1]*1000+math.floor(time[2]/1000) "                               \
	"local w,i,m=T..'w',T..'i',T..'m' "

/* The lease in milliseconds, if what is there can be one: others may have written it. */
#define LEASE                                                                            \
	"local function agreed() local l=tonumber(call('HGET',m,'lease')) "              \
	"return l and l>=100 and l<=600000 and l end "

/* Takes a caller's chunk out of its stream, and tells the caller. */
#define TELL                                                                             \
	"local function tell(q,id,mark,by,ttl) "                                         \
	"if try('XACK',q,'g',id)~=1 then return 0 end "                                  \
	"local entry=try('XRANGE',q,id,id)[1] try('XDEL',q,id) "                         \
	"local f=entry and entry[2] "                                                    \
	"if not f or f[1]~='c' or f[3]~='s' then return 0 end "                          \
	"if try('HDEL',T..'o:'..f[2],f[4])~=1 then return 0 end "                        \
	"local r=T..'r:'..f[2] try('DEL',T..'b:'..f[2]..':'..f[4]) "                     \
	"try('XADD',r,'*','s',f[4],mark,by) "                                            \
	"if try('PTTL',r)==-1 then try('PEXPIRE',r,ttl) end return 1 end "

/*
 * All that a host holds which is none; some of it, if that is much. What it was given
 * when it was none already, by a read that was blocked before, nobody has begun.
 */
#define SWEEP                                                                            \
	TELL "local function sweep(q,host,ttl) local n=0 "                               \
	     "local gone=tonumber(try('ZSCORE',T..'g',host)) or now "                    \
	     "local list=try('XPENDING',q,'g','-','+',100,host) "                        \
	     "for _,e in ipairs(list) do local mark=now-e[3]>gone and 'g' or 'l' "       \
	     "n=n+tell(q,e[1],mark,host,ttl) end "                                       \
	     "if #list<100 then try('XGROUP','DELCONSUMER',q,'g',host) end "             \
	     "return n end "

/* A host is none from now on. */
#define DROP                                                                             \
	"local function drop(host,ttl) call('HDEL',i,host) try('ZADD',T..'g',now,host) " \
	"try('PEXPIRE',T..'g',ttl) return call('ZREM',w,host) end "

#define BURY                                                                             \
	"local function bury(caller) local o=T..'o:'..caller "                           \
	"local seqs=try('HKEYS',o) if not seqs.err then "                                \
	"for _,s in ipairs(seqs) do try('DEL',T..'b:'..caller..':'..s) end end "         \
	"call('ZREM',T..'c',caller) return call('DEL',o,T..'r:'..caller) end "

#define LIST_HOSTS                                                                       \
	"local function hosts() local out={} "                                           \
	"local list=call('ZRANGE',w,0,-1,'WITHSCORES') for k=1,#list,2 do "              \
	"out[#out+1]=list[k] out[#out+1]=math.floor(now-tonumber(list[k+1])) "           \
	"out[#out+1]=call('HGET',i,list[k]) or '' end return out end "

const char *const engine_scripts[SCRIPTS] = {
	/* T H info lease layout ttl old n task.. (task sid).. */
	[SCRIPT_JOIN] = HEAD LEASE DROP
	"call('HSETNX',m,'layout',ARGV[5]) local layout=call('HGET',m,'layout') "
	"if layout~=ARGV[5] then return tonumber(layout) or 0 end "
	"local lease,host,ttl,old=agreed(),ARGV[2],ARGV[6],ARGV[7] "
	"if not lease then lease=tonumber(ARGV[4]) call('HSET',m,'lease',lease) end "
	"call('PEXPIRE',m,ttl) local out={lease} "
	"local last=8+tonumber(ARGV[8]) for k=9,last do local q=T..'q:'..ARGV[k] "
	"try('XGROUP','CREATE',q,'g','0','MKSTREAM') call('PEXPIRE',q,ttl) end "
	"if old~='' then drop(old,ttl) end "
	"call('ZADD',w,now,host) call('HSET',i,host,ARGV[3]) "
	"call('PEXPIRE',w,ttl) call('PEXPIRE',i,ttl) "
	"for k=last+1,#ARGV,2 do local q,id,ok=T..'q:'..ARGV[k],ARGV[k+1],0 "
	"local p=try('XPENDING',q,'g',id,id,1) if p[1] and p[1][2]==old then "
	"p=try('XCLAIM',q,'g',host,0,id,'JUSTID') if p[1] then ok=1 end end "
	"out[#out+1]=ok end return out",

	/* T H info lease layout ttl most task.. */
	[SCRIPT_BEAT] = HEAD SWEEP DROP BURY
	"local host,lease,ttl=ARGV[2],tonumber(ARGV[4]),ARGV[6] "
	"if not call('ZSCORE',w,host) then return {0,0,0} end "
	"for k=8,#ARGV do if call('PEXPIRE',T..'q:'..ARGV[k],ttl)==0 then "
	"return {0,0,0} end end "
	"call('ZADD',w,now,host) call('HSET',i,host,ARGV[3]) "
	"call('HSETNX',m,'layout',ARGV[5]) call('HSETNX',m,'lease',ARGV[4]) "
	"for _,k in ipairs({'w','i','m','c','x'}) do call('PEXPIRE',T..k,ttl) end "
	"if not call('SET',T..'s','','NX','PX',math.floor(lease/4)+1) then "
	"return {1,0,0} end "
	"for _,h in ipairs(call('ZRANGEBYSCORE',w,'-inf',now-lease,'LIMIT',0,16)) do "
	"drop(h,ttl) end local lost,buried=0,0 "
	"for _,h in ipairs(try('ZRANGEBYSCORE',T..'g','-inf',now-ttl,'LIMIT',0,16)) do "
	"try('ZREM',T..'g',h) end "
	"for k=8,#ARGV do local q=T..'q:'..ARGV[k] "
	"local list=try('XINFO','CONSUMERS',q,'g') if list.err then return {0,0,0} end "
	"for _,x in ipairs(list) do if not call('ZSCORE',w,x[2]) then "
	"lost=lost+sweep(q,x[2],ttl) end end end "
	"for _,c in ipairs(call('ZRANGEBYSCORE',T..'c','-inf',now-tonumber(ARGV[7]),"
	"'LIMIT',0,16)) do bury(c) buried=buried+1 end return "
	"{1,lost,buried,time[1]*1000000+time[2]}",

	/*
	 * T H ttl task C (sid seq header out blobs)..; of outputs 1, inputs 2. Where not
	 * all are pending, those count whose entries are there, and say so.
	 */
	[SCRIPT_DONE] =
		"local call,try,T=redis.call,redis.pcall,ARGV[1] "
		"if not call('ZSCORE',KEYS[1],ARGV[2]) then return -1 end "
		"local q,c,ids=T..'q:'..ARGV[4],ARGV[5],{} local "
		"o,r=T..'o:'..c,T..'r:'..c "
		"for k=6,#ARGV,5 do ids[#ids+1]=ARGV[k] end "
		"local all=try('XACK',q,'g',unpack(ids))==#ids local "
		"gone,said={},{'f',ARGV[2]} "
		"for i,id in ipairs(ids) do local k=1+5*i local "
		"s,blobs=ARGV[k+1],ARGV[k+4] "
		"local ours,n,large=all,#said,blobs=='1' or blobs=='3' "
		"if not all then local e=try('XRANGE',q,id,id)[1] local f=e and e[2] "
		"ours=f and f[1]=='c' and f[2]==c and f[3]=='s' and f[4]==s end "
		"if ours then gone[#gone+1]=id "
		"if blobs>='2' then try('DEL',T..'b:'..c..':'..s) end end "
		"if ours and try('HDEL',o,s)==1 then said[n+1]='s' said[n+2]=s "
		"said[n+3]='h' said[n+4]=ARGV[k+2] said[n+5]=large and 'b' or 'a' "
		"said[n+6]=ARGV[k+3] elseif large then try('DEL',T..'B:'..c..':'..s) end "
		"end "
		"if #gone>0 then try('XDEL',q,unpack(gone)) end "
		"if #said>2 then try('XADD',r,'*',unpack(said)) "
		"if try('PTTL',r)==-1 then try('PEXPIRE',r,ARGV[3]) end end "
		"return (#said-2)/6",

	/* T H ttl mark (task sid).. */
	[SCRIPT_GIVE] = HEAD TELL
	"local n=0 for k=5,#ARGV,2 do "
	"n=n+tell(T..'q:'..ARGV[k],ARGV[k+1],ARGV[4],ARGV[2],ARGV[3]) end return n",

	/* T H ttl task.. */
	[SCRIPT_LEAVE] = HEAD SWEEP DROP
	"local n=drop(ARGV[2],ARGV[3]) "
	"for k=4,#ARGV do sweep(T..'q:'..ARGV[k],ARGV[2],ARGV[3]) end return n",

	/* T C ttl list (task sid seq blob).. */
	[SCRIPT_CALL] = HEAD LEASE LIST_HOSTS
	"local c,ttl=ARGV[2],ARGV[3] local o,r,new=T..'o:'..c,T..'r:'..c,0 "
	"if not call('ZSCORE',T..'c',c) then new=1 end call('ZADD',T..'c',now,c) "
	"call('PEXPIRE',T..'c',ttl) call('PEXPIRE',o,ttl) call('PEXPIRE',r,ttl) "
	"local gone={} for k=5,#ARGV,4 do local q,id,s=T..'q:'..ARGV[k],ARGV[k+1],"
	"ARGV[k+2] call('PEXPIRE',q,ttl) "
	"if try('HEXISTS',o,s)~=1 then gone[#gone+1]=s "
	"elseif id~='' and not try('XRANGE',q,id,id)[1] then "
	"try('HDEL',o,s) gone[#gone+1]=s "
	"elseif ARGV[k+3]=='1' then try('PEXPIRE',T..'b:'..c..':'..s,ttl) end end "
	"local last=try('XREVRANGE',r,'+','-','COUNT',1)[1] "
	"local out=try('HLEN',o) if type(out)~='number' then out=0 end "
	"return {out,new,last and last[1] or '0-0',gone,ARGV[4]=='1' and hosts(),"
	"agreed() or 0,time[1]*1000000+time[2]}",

	/* T C (task sid seq).. */
	[SCRIPT_TAKE_BACK] = HEAD
	"local out={} for k=3,#ARGV,3 do local q,id,s=T..'q:'..ARGV[k],ARGV[k+1],"
	"ARGV[k+2] if not try('XPENDING',q,'g',id,id,1)[1] and try('XDEL',q,id)==1 "
	"then try('HDEL',T..'o:'..ARGV[2],s) "
	"try('DEL',T..'b:'..ARGV[2]..':'..s) out[#out+1]=s end end return out",

	/* T C */
	[SCRIPT_BURY] = HEAD BURY "return bury(ARGV[2])",

	/* T */
	[SCRIPT_HOSTS] = HEAD LIST_HOSTS "return hosts()",
};
